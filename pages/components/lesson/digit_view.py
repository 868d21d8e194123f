"""A digit drawn by hand, run through the parents of a fusion of digit classifiers and the fused network."""

import base64
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import streamlit as st
from safetensors import SafetensorError
from safetensors.numpy import load_file

from fusion_engine import store
from fusion_engine.core.errors import FusionError, StoreError

from ..run import demo
from ..shared import state
from ..shared.page_frame import existing
from .component import source

# The normalisation of the built-in digits' training part, as fusion_engine.data.load_data("digits:train") has it.
MEAN, STD = 0.30422526597976685, 0.3754219710826874
_RELU = re.compile(r"mlp \d+(-\d+)+")  # how an MLP with ReLU is called: other activations stand behind a comma
_LAYER = re.compile(r"fc(\d+)\.(weight|bias)")
_NEWEST = 40  # runs that are looked through for a fusion of the demo


@cache
def _mount() -> Any:
    return st.components.v2.component(
        "fusion_digit", js=source("arithmetic.js", "drawing.js", "digit.js"), css=source("lesson.css", "digit.css"),
        isolate_styles=False,
    )


def draw() -> None:
    """The drawing area and the networks; or the button that makes them, where there is no such fusion."""
    run = fusion_of_digits()
    if run is None:
        begun = state.get("demo")
        if begun and existing(store.read_job, begun) is not None:
            run = demo.follow_demo(begun)
            if run is not None and not _fits(run):
                raise StoreError(f"this address names something else: {run} is no fusion of networks that read digits")
        else:
            st.markdown("This chapter needs the demo's fusion: four small parents that read digits, fused into one.")
            st.button(
                "Fuse the demo", type="primary", on_click=demo.begin, icon=":material/play_arrow:", key="digit-demo"
            )
    if run is not None:
        _mount()(key="digit", data=digit_networks(run))
        st.caption(f"Run {run}: the networks of your store, computed in your browser. Nothing you draw is kept.")


def fusion_of_digits() -> str | None:
    """The fusion that the address names, or else the newest, if its networks read 8 x 8 digits layer by layer."""
    named = [run for run in (state.get("run"), state.get("demo")) if run]
    for run in [*named, *(run["id"] for run in store.list_runs("fuse")[:_NEWEST])]:
        if _fits(run):
            return run
    return None


def _fits(run: str) -> bool:
    try:
        if store.read_job(run)["kind"] != "fuse" or store.read_status(run)["state"] != "done":
            return False
        arguments = store.read_job(run)["arguments"]
        summary = store.read_parents_summary(arguments["parents"])
        ours = arguments["data"].startswith("digits") and _RELU.fullmatch(summary["architecture"])
        return bool(ours and digit_networks(run))
    except (FusionError, SafetensorError, OSError, ValueError, KeyError):
        return False


@st.cache_data(max_entries=8, show_spinner=False)
def digit_networks(run: str) -> dict[str, Any]:
    """Layers of every parent and of the fused network, and the group of every neuron, for the browser.

    Raises ValueError where the networks are no chains of layers from 64 pixels to 10 classes, or their groups are soft.
    """
    parents = store.read_job(run)["arguments"]["parents"]
    names = [parent["name"] for parent in store.read_parents_summary(parents)["parents"]]
    networks = [_layers(load_file(path)) for path in store.parent_paths(parents)]
    fused = _layers(load_file(store.result_path(run, "fused.safetensors")))
    labels = [[g.tolist() for g in grouping.labels or ()] for grouping in store.read_groupings(run).values()]
    depth = len(fused) - 1
    widths = [[net[level]["shape"][0] for net in networks] for level in range(depth)]
    if [[len(own) for own in space] for space in labels] != widths:
        raise ValueError("the neurons of this fusion are not in one group each")
    return {
        "content": run, "names": names, "parents": networks, "fused": fused, "labels": labels, "mean": MEAN, "std": STD,
    }


def _layers(tensors: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    numbers = sorted({int(found[1]) for name in tensors if (found := _LAYER.fullmatch(name))})
    layers = [_packed(tensors[f"fc{n}.weight"], tensors[f"fc{n}.bias"]) for n in numbers]
    if not layers or layers[0]["shape"][1] != 64 or layers[-1]["shape"][0] != 10:
        raise ValueError("these networks do not read 64 pixels and tell 10 classes")
    return layers


def _packed(weight: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    return {"shape": list(weight.shape), "w": _bytes(weight), "b": _bytes(bias)}


def _bytes(values: np.ndarray | Sequence[float]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
