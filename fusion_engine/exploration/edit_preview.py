"""What edits would make of a space's groups and what that costs, at once: from the moments that a run has kept, without
fusing anything. NumPy alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fusion_engine import store
from fusion_engine.core.edits import Edit, read_edits, resolved
from fusion_engine.core.edits.applying import Groups, apply, in_words, refusal
from fusion_engine.core.edits.lost import Change, SecondBest, change, group_error
from fusion_engine.core.edits.lost import second_best as _second_best
from fusion_engine.core.errors import FusionError, JobError
from fusion_engine.core.registry import nearest
from fusion_engine.core.types import Array, Indices
from fusion_engine.store.shapes import Verdict

from .verdict import verdict

_KEPT_SPACES = 8  # a space of 1,024 neurons has 8 MiB of covariance


@dataclass(frozen=True)
class Preview:
    """A space's groups after edits, T neurons of K parents in n groups, in the form that explore.npz has them.

    labels             (T,) group of each neuron, -1 for none
    group_members      (n, K) neurons of each parent in each group
    group_importance   (n,) sum of the importances
    group_error        (n,) share of the group's variance lost by merging
    lost               (T,) share of the neuron's own variance lost by merging; 1 for neurons in no group
    change             which groups change, and what they and the space lose before and after
    free               groups without a neuron, where a split can go
    verdict            what is said of the groups
    words              what was done: '3 neurons moved, 1 pinned'
    """

    labels: Indices
    group_members: Indices
    group_importance: Array
    group_error: Array
    lost: Array
    change: Change
    free: int
    verdict: Verdict
    words: str


def preview(run: str, space: str, edits: Sequence[Edit | Mapping[str, Any]]) -> Preview:
    """The groups of a space of a finished explore or fuse run after edits, in addition to those it has.

    edits: of this space; neurons by the parents' names or numbers. Losses are from the covariance that the run has
    kept, to rounding up to 1,024 neurons and to about 1e-6 beyond. FusionError in one line for soft groupings, spaces
    inside heads, unknown neurons, and edits that cannot be done; StoreError for runs that are not there.
    """
    known = _read(run, space)
    chosen = read_edits(list(edits))
    for number, edit in enumerate(chosen):
        if edit.space != space:
            raise FusionError(f"edits.{number}: this is an edit of space {edit.space!r}, not of {space!r}")
    done = resolved(chosen, known.names, {space: known.sizes})
    after, source = apply(known.groups, done, known.importance, known.sizes)
    found = change(known.covariance, known.groups, after, source, known.error)
    inside = after.labels >= 0
    members = np.zeros((after.size, len(known.sizes)), np.int64)
    np.add.at(members, (after.labels[inside], known.parent[inside]), 1)

    def sums(values: Array) -> Array:
        return np.bincount(after.labels[inside], values[inside], after.size).astype(np.float64)

    importance, lost = sums(known.importance), _share(found.error, known.variance)
    error = _share(sums(found.error), sums(known.variance))
    neuron = np.concatenate([np.arange(size) for size in known.sizes])
    judged = {
        "parent": known.parent, "neuron": neuron, "importance": known.importance, "lost": lost,
        "group_members": members, "group_importance": importance, "group_error": error,
    }
    return Preview(
        labels=after.labels,
        group_members=members,
        group_importance=importance,
        group_error=error,
        lost=lost,
        change=found,
        free=len(after.free),
        verdict=verdict(judged, hard=True),
        words=in_words(done),
    )


def second_best(run: str, space: str) -> SecondBest:
    """Of every neuron of a space the group that would take it in at the smallest loss, beside its own, and the margin.
    Errors as `preview`."""
    return _best(run, space)


@dataclass(frozen=True)
class _Known:
    """What a run knows of a space, T neurons: names of the parents, sizes of each; parent of each neuron."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    parent: Indices
    importance: Array
    groups: Groups
    covariance: Array
    variance: Array
    error: Array


@lru_cache(maxsize=64)
def _best(run: str, space: str) -> SecondBest:
    known = _read(run, space)
    found = _second_best(known.covariance, known.groups, known.importance)
    for array in (found.group, found.margin):
        array.setflags(write=False)
    return found


@lru_cache(maxsize=_KEPT_SPACES)
def _read(run: str, space: str) -> _Known:
    """What a run has kept of a space. The results of a run never change."""
    found = store.read_explore(run)
    spaces = {entry["name"]: entry for entry in found["spaces"]}
    if space not in spaces:
        raise FusionError(f"this run has no space {space!r}{nearest(space, spaces)}")
    entry = spaces[space]
    if not entry["hard"]:
        raise FusionError(refusal(space, found["grouping"]["method"]))
    if why := entry.get("edits_refused"):
        raise FusionError(why)
    arrays = store.read_arrays(run, "explore.npz", f"{entry['index']}/")
    kept = store.read_arrays(run, "features.npz", f"{entry['index']}/")
    if "shares" not in kept:
        raise JobError("this run was made before groups could be edited; run it again")
    if "covariance" not in kept:
        raise FusionError(
            f"space {space!r} has {sum(entry['sizes']):,} neurons, too many for a preview; the edits can be fused all "
            "the same"
        )
    covariance = kept["covariance"].astype(np.float64, copy=False)
    groups = Groups(arrays["group"], kept["shares"], entry["size"], kept["weights"], kept["pins"])
    variance = np.diag(covariance).clip(0)
    return _Known(
        tuple(found["parents"]), tuple(entry["sizes"]), arrays["parent"], arrays["importance"], groups, covariance,
        variance, group_error(covariance, groups),
    )  # fmt: skip


def _share(part: Array, whole: Array) -> Array:
    """part / whole, 0 where there is nothing to lose."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
