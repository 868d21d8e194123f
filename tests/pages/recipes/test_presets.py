"""The cards of the presets on the Fuse page, and the base model that some of them need."""

from __future__ import annotations

import samples

from fusion_engine import store
from fusion_engine.store.files import write_json

READY = {"parents": samples.PARENTS, "data": "digits:train", "test": "digits:test"}
EVERY = READY | {"kind": "all"}
BASE = "b" * 32


def cards(app) -> dict[str, str]:
    """Caption of each preset, by its id, which stands beside its title."""
    shown = app.radio(key="preset").proto
    return dict(zip((option.split("`")[1] for option in shown.options), shown.captions, strict=True))


def test_the_chosen_card_says_what_its_preset_needs(open_page, filled) -> None:
    app = open_page("fuse", **EVERY)
    shown = cards(app)
    assert "Needs two parents or more, calibration samples for checking only." in shown["kf_linear"]
    assert "Needs" not in shown["pairs"]
    app.radio(key="preset").set_value("pairs").run()
    assert "Needs 2 parents of equal widths" in cards(app)["pairs"]


def test_presets_that_cannot_run_say_why(open_page, filled, submitted) -> None:
    three = samples.add_parents("c" * 32, count=3)
    app = open_page("fuse", **EVERY | {"parents": three})
    shown = cards(app)
    assert "Not available here: hungarian method works with at most 2 parents; you have 3" in shown["pairs"]
    assert "Not available" not in shown["average"]
    app.radio(key="preset").set_value("pairs").run()
    assert "at most 2 parents" in app.warning[0].value
    assert app.button(key="fuse").disabled
    assert submitted == []


def test_cards_say_how_a_preset_did_on_these_parents(open_page, filled) -> None:
    for accuracy in (0.95, 0.905):
        samples.add_fusion(accuracy)
    samples.add_fusion(0.99, parents=samples.add_parents("c" * 32))
    samples.add_fusion(0.98, test=samples.DATA)
    shown = cards(open_page("fuse", **EVERY))
    assert "On these parents: best 95.0\u202f%, last 90.5\u202f% (2 runs)." in shown["kf_linear"]
    assert "On these parents" not in shown["average"]


def test_a_base_model_is_asked_for_where_it_is_needed(open_page, filled, submitted) -> None:
    app = open_page("fuse", **EVERY)
    assert "Base model" not in [s.label for s in app.selectbox]
    samples.add_parents(BASE, "my start", count=1)
    app.radio(key="preset").set_value("vectors").run()
    assert "needs the base model" in app.warning[0].value
    assert app.button(key="fuse").disabled
    chosen = next(s for s in app.selectbox if s.label == "Base model")
    assert chosen.options == ["my start"]
    chosen.select(f"{BASE}.0").run()
    assert not app.exception
    assert not app.warning
    assert "--base parent_0.safetensors" in app.code[0].value
    app.button(key="fuse").click().run()
    assert submitted[0][1] | {"samples": 0} == {
        **READY, "recipe": "vectors", "samples": 0, "seed": 0, "base": f"{BASE}.0",
    }
    app.radio(key="preset").set_value("average").run()
    app.button(key="fuse").click().run()
    assert "base" not in submitted[1][1]


def test_kinds_and_words_choose_what_is_listed(open_page, filled) -> None:
    def listed(app) -> list[str]:
        assert not app.exception
        return list(cards(app))

    app = open_page("fuse", **READY)
    assert listed(app) == ["kf_linear", "average"]
    app.segmented_control(key="recipe-kind").set_value("pairs").run()
    assert listed(app) == ["kf_linear", "pairs"]  # what is chosen stays in sight
    assert samples.url(app, "kind") == "pairs"
    for words, found in ("someone 2025", []), ("VECTORS", ["vectors"]), ("zzz", []):
        app.text_input(key="recipe-search").set_value(words).run()
        assert listed(app) == ["kf_linear", *found]
    assert "No recipe has these words." in [c.value for c in app.caption]
    assert listed(open_page("fuse", recipe="vectors", **READY)) == ["kf_linear", "average", "pairs", "vectors"]


def test_only_models_that_fit_can_be_the_base(open_page, filled) -> None:
    other = samples.add_parents(BASE, "another", count=1)
    summary = store.read_parents_summary(other)
    summary["parents"][0]["layers"][0]["shape"] = [7, 64]
    write_json(store.folder("parents") / other / "summary.json", summary)
    app = open_page("fuse", recipe="vectors", base=f"{BASE}.0", **READY)
    assert next(s for s in app.selectbox if s.label == "Base model").options == []
    assert app.button(key="fuse").disabled


def test_an_uploaded_base_model_is_taken_when_it_is_read(open_page, filled) -> None:
    samples.add_parents(BASE, "my start", count=1)
    run = samples.add_run("import_parents", {"upload": "u", "base": True}, "running")
    app = open_page("fuse", recipe="vectors", loading=run, **READY)
    assert any(m.value.startswith("**Reading the base model**") for m in app.markdown)
    write_json(store.run_folder(run) / "result.json", {"parents": BASE, "summary": None, "errors": []})
    store.write_status(run, "done")
    app.run()
    assert samples.url(app, "base") == f"{BASE}.0"
    assert samples.url(app, "loading") is None
    assert not app.warning


def test_single_models_are_no_parents_to_fuse(open_page, filled) -> None:
    samples.add_parents(BASE, "my start", count=1)
    app = open_page("fuse", **READY)
    sets = next(s for s in app.selectbox if s.label == "Parents")
    assert not any("my start" in option for option in sets.options)
