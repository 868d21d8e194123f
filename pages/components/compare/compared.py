"""The runs that a comparison is about, and what their networks say of each test sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.store.described import beside as engine
from fusion_engine.store.described.beside import Answers, Beside

from ..run import reports
from ..shared.text import distinct


@dataclass(frozen=True)
class Network:
    """One network of a run. key: its name in the report."""

    run: str
    key: str
    label: str

    @property
    def id(self) -> str:
        """How an address names it."""
        return f"{self.run}.{self.key}"


@dataclass(frozen=True)
class Compared:
    """Runs that stand on the same ground, the first being the one that others stand against. jobs, reports and names by
    run."""

    jobs: Mapping[str, Mapping[str, Any]]
    reports: Mapping[str, dict[str, Any]]
    names: Mapping[str, str]

    @property
    def runs(self) -> list[str]:
        return list(self.reports)

    @property
    def first(self) -> str:
        return self.runs[0]

    def networks(self) -> list[Network]:
        """The first run's fused network, parents and references, and the other runs' fused networks."""
        first, *others = self.runs
        found = engine.networks(self.reports[first])
        if not found:
            return []
        labels = [m.label for m in reports.models(self.reports[first])]
        own = [Network(first, key, label) for key, label in zip(found, labels, strict=True)]
        many = bool(others)
        fused = [Network(first, "fused", f"Fused: {self.names[first]}" if many else "Fused"), *(
            Network(run, "fused", f"Fused: {self.names[run]}") for run in others if "fused" in self.reports[run]
        )]
        listed = [*fused, *own[:-1]]
        names = distinct((network.label for network in listed), 60)
        return [Network(n.run, n.key, name) for n, name in zip(listed, names, strict=True)]

    def best_parent(self) -> str:
        """The key of the first run's best parent."""
        entries = self.reports[self.first]["parents"]
        return f"parents/{max(range(len(entries)), key=lambda p: entries[p].get('accuracy') or 0.0)}"

    def answers(self, run: str) -> Answers | None:
        source = engine.answering(run)
        return None if source is None else _answers(run, source)

    def beside(self, mix: bool) -> Beside:
        sources = tuple(engine.answering(run) for run in self.runs)
        return _beside(tuple(self.runs), mix, tuple(self.names.values()), sources)


@st.cache_resource(max_entries=8, show_spinner=False)
def _answers(run: str, source: str) -> Answers | None:
    """source: the run that keeps them, so that a later evaluation is seen."""
    found = store.read_answers(run)
    if found is not None:
        for array in (found.labels, *found.predicted.values(), *found.confidence.values()):
            array.flags.writeable = False
    return found


@st.cache_data(max_entries=16, show_spinner=False)
def _beside(runs: tuple[str, ...], mix: bool, names: tuple[str, ...], sources: tuple[str | None, ...]) -> Beside:
    """names, sources: what it depends on beside the runs, which never change."""
    return store.beside(runs, mix=mix)


def right(answers: Answers, key: str) -> np.ndarray:
    """(N,) bool."""
    return np.asarray(answers.right(key))


def chosen(networks: Sequence[Network], identifier: str, otherwise: str) -> Network:
    """The network that an address names; else the first with the key `otherwise`, else the first."""
    fallback = next((n for n in networks if n.key == otherwise), networks[0])
    return next((n for n in networks if n.id == identifier), fallback)
