from __future__ import annotations

import samples

from fusion_engine import store
from fusion_engine.core.progress import ProgressEvent
from fusion_engine.store.files import write_json


def done_preflight(monkeypatch, ok: bool) -> None:
    answer_preflight(monkeypatch, samples.preflight(ok))


def answer_preflight(monkeypatch, result: dict) -> None:
    from fusion_engine.jobs import client

    def submit(kind: str, arguments: dict) -> str:
        run = samples.add_run(kind, arguments)
        write_json(store.run_folder(run) / "result.json", result)
        return run

    monkeypatch.setattr(client, "submit", submit)


def test_an_empty_store_offers_the_demo(open_page, submitted) -> None:
    app = open_page("parents")
    assert "Use the demo parents" in [b.label for b in app.button]
    next(b for b in app.button if b.label == "Use the demo parents").click().run()
    assert submitted == [("import_parents", {"demo": "digits"})]
    assert "import" in app.query_params


def test_a_finished_import_becomes_the_chosen_set(open_page, filled) -> None:
    run = samples.add_run("import_parents", {"demo": "digits"})
    write_json(store.run_folder(run) / "result.json", {"parents": samples.PARENTS, "summary": None, "errors": []})
    app = open_page("parents", **{"import": run})
    assert samples.url(app, "parents") == samples.PARENTS
    assert samples.url(app, "data") == "digits:train"
    assert "import" not in app.query_params


def test_training_takes_what_the_form_says(open_page, submitted, filled) -> None:
    app = open_page("parents", load="train")
    app.slider[0].set_value(4)
    app.run()
    app.button(key="parents-train").click().run()
    assert submitted == [
        ("train", {"arch": "mlp", "data": "digits:train", "parents": 4, "regime": "non_iid", "seed": 0})
    ]


def test_a_good_set_is_described(open_page, filled, monkeypatch) -> None:
    done_preflight(monkeypatch, ok=True)
    app = open_page("parents", parents=samples.PARENTS)
    assert "can be fused: 2 spaces with 12 neurons in 3 levels" in app.success[0].value
    tables = [list(t.value.columns) for t in app.dataframe]
    assert ["Tensor", "Shape", "Numbers"] in tables
    assert ["Level", "Name", "Output", "Parameters", "Layers", "Spaces"] in tables
    assert ["Parent", "0", "1", "2", "All"] in tables


def test_a_set_that_does_not_fit_says_which_pair_and_why(open_page, filled, monkeypatch) -> None:
    done_preflight(monkeypatch, ok=False)
    app = open_page("parents", parents=samples.PARENTS)
    assert "give parents of one shape" in app.error[0].value
    told = [m.value for m in app.markdown]
    assert any("**parent\\_1**" in line and "8 x 64 in the other" in line for line in told)
    assert any("**parent\\_0**: nothing in the way" in line for line in told)


def test_an_operation_that_cannot_be_followed_is_named(open_page, filled, monkeypatch) -> None:
    reason = "operator 'index' in module 'blocks.0' cannot be followed: it depends on the data; replace it"
    stuck = {"ok": False, "reason": reason, "operation": "index", "module": "blocks.0"}
    verdicts = [{"name": f"parent_{i}", **stuck} for i in (0, 1)]
    answer_preflight(monkeypatch, samples.preflight(False) | {"error": reason, "parents": verdicts})
    app = open_page("parents", parents=samples.PARENTS)
    (line,) = [m.value for m in app.markdown if "cannot be followed" in m.value]
    assert "**parent\\_0** and **parent\\_1**" in line
    assert "operation `index` in module `blocks.0`" in line
    assert "replace it" in line
    assert app.error[0].value == "These parents cannot be fused as they are."


def test_files_that_cannot_be_read_are_listed(open_page, filled) -> None:
    run = samples.add_run("import_parents", {"upload": "x"}, "failed", "two files cannot be read")
    errors = [{"file": "a.pt", "error": "it is cut off"}, {"file": "b.pt", "error": "it tries to run code"}]
    write_json(store.run_folder(run) / "result.json", {"parents": None, "summary": None, "errors": errors})
    app = open_page("parents", **{"import": run})
    assert app.error[0].value == "two files cannot be read"
    assert sum("tries to run code" in m.value for m in app.markdown) == 1


def test_a_missing_class_in_the_data_is_named(open_page, filled) -> None:
    app = open_page("parents", parents=samples.PARENTS, data=samples.DATA)
    assert any("no samples of class 2" in e.value for e in app.warning)


def test_preflight_learns_the_input_shape_from_the_data(open_page, submitted, filled) -> None:
    summary = store.read_parents_summary(samples.PARENTS)
    other = "b" * 32
    store.save_parents(other, lambda folder: None, summary | {"id": other, "input_shape": None})
    open_page("parents", parents=other, data=samples.DATA)
    assert submitted == [("preflight", {"parents": other, "input_shape": [64], "data": samples.DATA})]


def test_after_a_reload_the_form_says_what_is_being_trained(open_page, filled) -> None:
    given = {"arch": "vgg", "data": "digits:train", "parents": 3, "regime": "non_iid", "seed": 7}
    app = open_page("parents", load="train", **{"import": samples.add_run("train", given, "running")})
    assert app.selectbox(key="train-arch").value == "vgg"
    assert app.slider(key="train-parents").value == 3
    assert app.number_input(key="train-seed").value == 7


def test_training_shows_each_parent(open_page, filled) -> None:
    run = samples.add_run("train", {"parents": 4}, "running")
    store.append_event(run, ProgressEvent("train", 0.375, "training parent_1", {"parent": 1, "loss": 0.25}))
    app = open_page("parents", **{"import": run})
    bars = [bar.proto for bar in app.get("progress")]
    assert [(bar.text, bar.value) for bar in bars[-4:]] == [
        ("Parent 0 · waiting", 100), ("Parent 1 · loss 0.250", 50), ("Parent 2 · waiting", 0),
        ("Parent 3 · waiting", 0),
    ]
