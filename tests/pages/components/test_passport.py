"""A neuron's passport on the Explore page, with its jobs done in this process on the demo's parents."""

import base64
import struct
import zlib

import numpy as np
import pytest
import samples

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.jobs.service.tasks import run_job
from pages.components.passport import pictures


@pytest.fixture
def demo(home, monkeypatch) -> dict[str, str]:
    """The page's address for the demo's parents as fused; jobs are done as they are handed over, UMAP's never."""
    samples.add_catalogue()

    def submit(kind: str, arguments: dict) -> str:
        run = store.create_run(kind, arguments)
        if kind != "embed":
            run_job(run)
        return run

    monkeypatch.setattr(client, "submit", submit)
    parents = store.read_result(submit("import_parents", {"demo": "digits_vgg"}))["parents"]
    given = {"parents": parents, "data": "digits:train", "samples": 60, "seed": 0}
    fusion = submit("fuse", {**given, "recipe": "average", "test": "digits:test"})
    return {"parents": parents, "data": "digits:train", "test": "digits:test", "run": fusion, "source": "run",
            "space": "features.3", "neuron": "0:17"}


def _html(app) -> str:
    return "".join(entry.proto.body for entry in app.get("html"))


def test_a_passport_shows_what_excites_the_neuron(open_page, demo) -> None:
    app = open_page("explore", **demo)
    shown = _html(app)
    assert "features.3/parent_0:17" in shown
    assert shown.count("data:image/png;base64,") == 16
    run = next(r["id"] for r in store.list_runs("passport") if "neurons" not in r["arguments"])
    arrays = store.read_arrays(run, "passport.npz")
    number, value = int(arrays["top"][17, 0]), float(arrays["top_value"][17, 0])
    assert f'alt="sample {number}, class {arrays["labels"][number]}: {value:.3g}"' in shown
    links = [code.value for code in app.code]
    assert any("neuron=0:17" in link and f"run={demo['run']}" in link and "space=features.3" in link for link in links)
    assert "features.3/parent_0:17" in links
    preferred = int(arrays["preferred"][17])
    assert any(f"Prefers **class {preferred}**" in entry.value for entry in app.markdown)


@pytest.mark.parametrize(
    ("part", "words"),
    [("Group", "Second-best group"), ("Reads", "The largest weights of"), ("Scores", None), ("Without it", "Silence")],
)
def test_every_part_is_drawn_when_it_is_opened(open_page, demo, part: str, words: str | None) -> None:
    app = open_page("explore", **demo)
    app.session_state["passport-part"] = part
    app.run()
    assert not app.exception, [e.value for e in app.exception]
    told = [e.value for e in (*app.markdown, *app.caption)] + [b.label for b in app.button]
    if words is not None:
        assert any(words in text for text in told)
    else:
        assert any(list(t.value.columns) == ["Method", "Score", "Rank", "Of"] and len(t.value) for t in app.dataframe)


def test_silencing_is_asked_for_and_told(open_page, demo) -> None:
    app = open_page("explore", **demo)
    app.session_state["passport-part"] = "Without it"
    app.run()
    assert not any("silence" in r["arguments"] for r in store.list_runs("passport"))
    next(b for b in app.button if b.label == "Silence it").click().run()
    assert not app.exception, [e.value for e in app.exception]
    told = [e.value for e in app.markdown]
    assert any("its parent: accuracy" in text.replace("\\", "") for text in told)
    assert any("the fused network: accuracy" in text.replace("\\", "") for text in told)


def test_while_it_is_computed_the_place_is_kept(open_page, demo, monkeypatch) -> None:
    earlier = client.submit
    monkeypatch.setattr(
        client, "submit", lambda kind, a: store.create_run(kind, a) if kind == "passport" else earlier(kind, a)
    )
    app = open_page("explore", **demo)
    assert 'class="waiting"' in _html(app)


def test_a_png_holds_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    content = base64.b64decode(pictures.png(pixels).partition(",")[2])
    assert struct.unpack(">II", content[16:24]) == (7, 5)
    size = struct.unpack(">I", content[33:37])[0]
    lines = np.frombuffer(zlib.decompress(content[41 : 41 + size]), np.uint8).reshape(5, 22)
    np.testing.assert_array_equal(lines[:, 1:].reshape(5, 7, 3), pixels)
    assert not lines[:, 0].any()


def test_weights_of_one_sign_have_one_colour() -> None:
    shown = pictures.weights(np.array([[[1.0, 0.0, -1.0]]])).astype(int)[0]
    assert shown[0, 0] > shown[0, 2]  # orange
    assert shown[1].tolist() == [255, 255, 255]
    assert shown[2, 2] > shown[2, 0]  # blue


def test_a_member_of_the_group_is_opened_from_it(open_page, demo) -> None:
    app = open_page("explore", **demo)
    app.session_state["passport-part"] = "Group"
    app.run()
    opened = next(b for b in app.button if b.label == "Open")
    index = int(opened.key.removeprefix("mate-"))
    opened.click().run()
    assert f"features.3/parent_{index // 32}:{index % 32}" in _html(app)
    assert "features.3/parent_0:17" not in _html(app)
