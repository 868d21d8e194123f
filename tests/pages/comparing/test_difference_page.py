"""The page Difference: networks chosen, compared, and shown on the network's picture."""

from __future__ import annotations

from typing import Any

import samples

from fusion_engine import store
from fusion_engine.store.files import write_json


def result() -> dict[str, Any]:
    def layer(name: str, level: int, as_is: float, aligned: float) -> dict[str, Any]:
        tensor = {"name": f"{name}.weight", "file": [f"{name}.weight", f"net.{name}.w"], "shapes": [[6, 6], [6, 6]],
                  "counted": True, "as_is": as_is, "aligned": aligned}
        return {"name": name, "level": level, "as_is": as_is, "aligned": aligned, "tensors": [tensor]}

    layers = [layer("fc0", 0, 1.0, 0.5), layer("fc1", 1, 0.9, 0.8), layer("fc2", 2, 0.7, 0.6)]
    shapes = samples.preflight()
    return {
        "networks": ["parent_0", "<b>fused</b>"], "same": False, "align": "balanced", "samples": 30, "layers": layers,
        "levels": [{"index": v["level"], "name": v["name"], "as_is": v["as_is"], "aligned": v["aligned"],
                    "cka": None if v["level"] == 2 else 0.75} for v in layers],
        "spaces": [{"name": "fc0", "level": 0, "sizes": [6, 6], "rows": 30, "cka": 0.75, "unrelated": 0.17,
                    "moved": 0.5}],
        "as_is": 0.9, "aligned": 0.7, "agreement": 0.8, "notes": ["said <i>so</i>"], "seconds": 0.5,
        "structure": {key: shapes[key] for key in ("levels", "spaces", "layers")}, "input_shape": [64],
    }


def test_an_empty_store_says_what_to_do(open_page, home) -> None:
    samples.add_catalogue()
    app = open_page("difference")
    assert "There are no two networks yet." in [m.value for m in app.markdown]


def test_networks_are_offered_and_handed_over(open_page, filled, submitted) -> None:
    run = samples.add_fusion()
    store.describe_run(run, name="good")
    app = open_page("difference", run=run, parents=samples.PARENTS, test=samples.DATA)
    first, second = app.selectbox(key="pick-first"), app.selectbox(key="pick-second")
    assert (first.value, second.value) == (run, f"{samples.PARENTS}.0")
    assert [option.split(" · ")[0] for option in first.options] == ["Fused: good", "parent_0", "parent_1"]
    app.button(key="difference").click().run()
    assert submitted == [("difference", {
        "first": run, "second": f"{samples.PARENTS}.0", "data": samples.DATA, "align": "auto", "samples": None,
        "seed": 0,
    })]


def test_without_samples_neurons_are_paired_by_weights(open_page, filled) -> None:
    app = open_page("difference", parents=samples.PARENTS, features="none")
    assert set(app.selectbox(key="difference-align").options) == {"Automatic", "Not aligned"}  # none here sees weights
    app = open_page("difference", parents=samples.PARENTS, features="digits:test")
    assert "hungarian method" in app.selectbox(key="difference-align").options


def test_a_difference_is_shown_by_level_layer_and_tensor(open_page, filled) -> None:
    asked = {"first": f"{samples.PARENTS}.0", "second": f"{samples.PARENTS}.1", "data": samples.DATA, "align": "auto",
             "samples": None, "seed": 0}
    run = samples.add_run("difference", asked)
    write_json(store.run_folder(run) / "result.json", result())
    where = {"difference": run, "first": asked["first"], "second": asked["second"], "features": samples.DATA}
    app = open_page("difference", **where)
    tensors = next(t.value for t in app.dataframe if "Tensor" in t.value)
    assert tensors.iloc[0, 1:3].tolist() == ["fc0.weight", "net.fc0.w"]
    levels = next(t.value for t in app.dataframe if "Least CKA" in t.value)
    assert levels["Aligned"].tolist() == ["0.500", "0.800", "0.600"]
    assert levels["Least CKA"].tolist() == ["0.750", "0.750", "–"]
    assert not any("<b>" in m.value.replace(r"\<b", "") for m in app.markdown)
    assert any(r"Said \<i\>so" in c.value for c in app.caption)
    app.segmented_control(key="difference-by").set_value("cka").run()
    assert not app.exception
    app = open_page("difference", **{**where, "pairing": "none"})
    assert any("compare again" in c.value for c in app.caption)
