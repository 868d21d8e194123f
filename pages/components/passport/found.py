"""What the jobs have found out about the neurons of a space: asked for once, read from the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.core.neurons import Neuron, written
from fusion_engine.jobs import client

from ..run import progress
from ..shared import state
from ..shared.text import plain


class View(Protocol):
    """One space of an explore or fuse run, as the page of it has it. Neurons go by an index into the arrays."""

    @property
    def run(self) -> str: ...
    @property
    def space(self) -> Mapping[str, Any]: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def arrays(self) -> Mapping[str, np.ndarray]: ...


@dataclass(frozen=True)
class Found:
    """info: `SpacePassports`; arrays: of its passport.npz, not to be changed."""

    run: str
    info: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def picture_of(self, sample: int) -> np.ndarray:
        """The sample as it is kept."""
        return np.asarray(self.arrays["samples"][int(np.searchsorted(self.arrays["kept"], sample))])


def neuron_of(view: View, index: int) -> Neuron:
    return Neuron(int(view.arrays["parent"][index]), int(view.arrays["neuron"][index]))


def name_of(view: View, index: int) -> str:
    """'parent_0:17'."""
    return written(neuron_of(view, index), view.names)


def arguments(view: View) -> dict[str, Any]:
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
        _await(run)
    else:
        st.caption(plain(status["error"] or "Cancelled. Nothing was kept of it."))
        st.button("Try again", key=f"again-{run}", on_click=progress.try_again, args=(run,), icon=":material/refresh:")
    return None


@st.fragment(run_every=0.3)
def _await(run: str) -> None:
    if client.status(run)["state"] in client.FINISHED:
        st.rerun()


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


@st.cache_resource(max_entries=6, show_spinner=False)
def read_scores(run: str, space: str) -> dict[tuple[str, int], np.ndarray]:
    """Scores of a space's neurons by method and parent."""
    found = {}
    for method in store.read_result(run)["methods"]:
        for parent, values in store.read_arrays(run, "scores.npz", f"{method}|{space}|").items():
            found[method, int(parent)] = values
    return found


def looks(view: View, indices: Sequence[int]) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]] | None:
    """Where these neurons look, once it is known; nothing is drawn meanwhile but a reason it cannot be known."""
    neurons = ",".join(str(neuron_of(view, index)) for index in indices)
    run = progress.remembered("passport", {**arguments(view), "neurons": neurons})
    if run is None:
        return None
    status = client.status(run)
    if status["state"] == "done":
        return read_looks(run)
    if status["state"] not in client.FINISHED:
        _await(run)
    else:
        st.caption(plain(status["error"] or "Where the neuron looks was not found out."))
    return None


def link(view: View, index: int) -> str:
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
    return f"{address}?{urlencode({**where, **about, 'neuron': str(neuron_of(view, index))}, safe=':')}"
