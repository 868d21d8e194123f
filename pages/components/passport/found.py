"""What the jobs have found out about the neurons of a space: asked for once, read from the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client

from ..run import progress
from ..shared import state
from ..shared.space import SpaceView
from ..shared.text import plain


@dataclass(frozen=True)
class Found:
    """info: `SpacePassports`; arrays: of its passport.npz, not to be changed."""

    run: str
    info: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def picture_of(self, sample: int) -> np.ndarray:
        """The sample as it is kept."""
        return np.asarray(self.arrays["samples"][int(np.searchsorted(self.arrays["kept"], sample))])


def arguments(view: SpaceView) -> dict[str, Any]:
    """What every job about this view is given: the same parents and samples, and the fusion if it is one."""
    job = store.read_job(view.run)
    given = job["arguments"]
    base = {"parents": given["parents"], "data": given["data"], "seed": given.get("seed") or 0}
    fusion = {"run": view.run} if job["kind"] == "fuse" else {}
    return {**base, "space": view.space["name"], **fusion}


def finished(kind: str, given: dict[str, Any], waiting: str, rows: int = 1) -> str | None:
    """The run of a job that is done. Otherwise a line in its place, as high as `rows` rows of pictures, and the page is
    drawn again when it has ended."""
    run = progress.remembered(kind, given)
    if run is None:
        return None
    status = client.status(run)
    if status["state"] == "done":
        return run
    if status["state"] not in client.FINISHED:
        st.html(f'<div class="waiting" style="min-height:{7 * rows}rem">{waiting}</div>')
        progress.redraw_when_ended(run)
    else:
        st.caption(plain(status["error"] or "Cancelled. Nothing was kept of it."))
        st.button("Try again", key=f"again-{run}", on_click=progress.try_again, args=(run,), icon=":material/refresh:")
    return None


@st.cache_resource(max_entries=6, show_spinner=False)
def read(run: str) -> Found:
    """A finished space-wide passport. One copy for all sessions: nobody changes it."""
    arrays = store.read_arrays(run, "passport.npz")
    for array in arrays.values():
        array.flags.writeable = False
    return Found(run, store.read_result(run), arrays)


@st.cache_resource(max_entries=32, show_spinner=False)
def read_looks(run: str) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]]:
    """Where some neurons look: the result, and the maps by neuron."""
    return store.read_result(run), store.read_arrays(run, "passport.npz", "look/")


def looks(view: SpaceView, indices: Sequence[int]) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]] | None:
    """Where these neurons look, once it is known; nothing is drawn meanwhile but a reason it cannot be known."""
    neurons = ",".join(str(view.neuron_of(index)) for index in indices)
    run = progress.remembered("passport", {**arguments(view), "neurons": neurons})
    if run is None:
        return None
    status = client.status(run)
    if status["state"] == "done":
        return read_looks(run)
    if status["state"] not in client.FINISHED:
        progress.redraw_when_ended(run)
    else:
        st.caption(plain(status["error"] or "Where the neuron looks was not found out."))
    return None


def link(view: SpaceView, index: int) -> str:
    """The address that shows this neuron, to whoever opens it on this machine."""
    job = store.read_job(view.run)
    given = arguments(view)
    about = {"source": "run"} if job["kind"] == "fuse" else {
        part: job["arguments"][part] for part in ("importance", "grouping") if job["arguments"].get(part)
    }
    where = {key: given[key] for key in ("parents", "data", "seed", "run", "space") if key in given}
    if test := state.get("test"):
        where["test"] = test
    address = (st.context.url or "").partition("?")[0]
    return f"{address}?{urlencode({**where, **about, 'neuron': str(view.neuron_of(index))}, safe=':')}"
