"""What edits make of a grouping: the new groups, and the weights of the neurons in them. NumPy alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FusionError
from ..types import Array, Grouping, Indices
from .edit import Edit, read_number

_CLOSE = 1e-9  # relative; weights that a grouping took differ from those it has by rounding alone
_DONE = {"move": "moved", "merge": "merged", "split": "split off", "pin": "pinned", "exclude": "excluded"}


@dataclass(frozen=True)
class Groups:
    """A hard grouping of N neurons, the parents' one after the other, in `size` groups.

    labels: (N,) group of each, -1 for none. shares: (N,) its weight in its group's fused neuron, which sum to one over
    a group; 0 for none. weights: (N,) how much each counts wherever it goes, in any scale; pins: (N,) those that
    their groups follow alone. Both are None where only the shares tell.
    """

    labels: Indices
    shares: Array
    size: int
    weights: Array | None = None
    pins: NDArray[np.bool_] | None = None

    @property
    def free(self) -> Indices:
        """Groups without a neuron, ascending."""
        return np.flatnonzero(np.bincount(self.labels[self.labels >= 0], minlength=self.size) == 0)

    @property
    def pinned(self) -> NDArray[np.bool_]:
        """(N,) neurons that their groups follow alone."""
        if self.pins is not None:
            return self.pins
        follows = (self.labels >= 0) & (self.shares == 0)
        found: NDArray[np.bool_] = np.isin(self.labels, self.labels[follows]) & (self.labels >= 0) & ~follows
        return found

    @property
    def led(self) -> NDArray[np.bool_]:
        """(size,) groups with pins."""
        found = np.zeros(self.size, dtype=bool)
        found[self.labels[self.pinned]] = True
        return found


def groups_of(grouping: Grouping) -> Groups:
    """The groups of a hard grouping. FusionError, which names the method, for a soft one."""
    if grouping.labels is None:
        raise FusionError(refusal(grouping.space, grouping.method))
    labels = np.concatenate(grouping.labels).astype(np.int64)
    merge = np.concatenate(grouping.merge, 1)
    shares = np.where(labels >= 0, merge[labels, np.arange(len(labels))], 0.0)
    return Groups(labels, shares, grouping.size, grouping.info.get("weights"), grouping.info.get("pins"))


def refusal(space: str, method: str) -> str:
    """Why a soft grouping has no groups to edit."""
    return (
        f"space {space!r}: grouping {method!r} mixes neurons instead of grouping them, so there are no groups to edit; "
        "use a grouping with groups, such as 'kmeans' or 'hungarian'"
    )


def raw_weights(groups: Groups, importance: Array) -> Array:
    """(N,) how much each neuron counts wherever it goes. Where that is not known it is read from the shares: its
    importance, or 1, if the shares are those of one of these; else its share of its group's importance."""
    if groups.weights is not None:
        return groups.weights
    led = groups.led
    judged = (groups.labels >= 0) & ~led[groups.labels]
    for weights in (importance, np.ones(len(importance))):
        fitting = _shares(groups.labels, weights, groups.size)[judged]
        if np.allclose(fitting, groups.shares[judged], rtol=_CLOSE, atol=0.0):
            return weights
    mass = np.bincount(groups.labels[judged], importance[judged], groups.size)
    return np.where(judged, groups.shares * mass[groups.labels], importance)


def apply(groups: Groups, edits: Iterable[Edit], importance: Array, sizes: Sequence[int]) -> tuple[Groups, Indices]:
    """The groups after the edits (`resolved`, all of this space) in order, and by slot the group before whose neurons
    and weights it has unchanged, -1 where there is none.

    importance: (N,), > 0, in any scale. sizes: neurons of every parent. Groups that have the neurons they had keep
    their weights to the bit. The others' weights are the neurons' own, importances or equal as the grouping took them,
    normalised over the group; with pins, over its pinned neurons. FusionError in one line where an edit cannot be done.
    """
    starts = np.cumsum([0, *sizes])
    labels, pinned = groups.labels.copy(), groups.pinned.copy()
    for edit in edits:
        at = np.array([starts[n.parent] + n.index for n in edit.members], dtype=np.int64)
        _one(edit, at, labels, pinned, starts, groups.size)
    source = _unchanged(groups.labels, labels, pinned != groups.pinned, groups.size)
    raw = raw_weights(groups, importance)
    led = np.zeros(groups.size, dtype=bool)
    led[labels[pinned]] = True
    weights = np.where(led[labels] & ~pinned, 0.0, raw)  # -1 reads the last group, whose shares are dropped
    shares = _shares(labels, weights, groups.size)
    kept = (labels >= 0) & (source[labels] >= 0)
    return Groups(labels, np.where(kept, groups.shares, shares), groups.size, raw, pinned), source


def _one(edit: Edit, at: Indices, labels: Indices, pinned: NDArray[np.bool_], starts: Indices, size: int) -> None:
    """Do one edit in place. at: its neurons among the N."""
    if edit.edit in ("merge", "pin"):
        _require_grouped(edit, at, labels)
    if edit.edit == "move":
        assert edit.to is not None
        to = read_number(edit.to)
        target = labels[starts[to.parent] + to.index]
        if target < 0:
            raise FusionError(f"space {edit.space!r}: {edit.to} is in no group, so nothing can join it; name another")
        _put(at[labels[at] != target], int(target), labels, pinned)
    elif edit.edit == "merge":
        labels[np.isin(labels, labels[at])] = labels[at[0]]
    elif edit.edit == "exclude":
        _put(at, -1, labels, pinned)
    elif edit.edit == "pin":
        pinned[at] = True
    else:
        rest = labels.copy()
        rest[at] = -1
        free = Groups(rest, np.zeros(0), size).free
        if not len(free):
            raise FusionError(
                f"space {edit.space!r}: all {size} groups are in use, and their number is the fused width: "
                "merge two first"
            )
        _put(at, int(free[0]), labels, pinned)


def _put(at: Indices, group: int, labels: Indices, pinned: NDArray[np.bool_]) -> None:
    labels[at], pinned[at] = group, False


def _require_grouped(edit: Edit, at: Indices, labels: Indices) -> None:
    for neuron, label in zip(edit.neurons, labels[at], strict=True):
        if label < 0:
            raise FusionError(
                f"space {edit.space!r}: {neuron} is in no group and cannot be part of a {edit.edit}; "
                "move it into one first"
            )


def _unchanged(before: Indices, after: Indices, turned: NDArray[np.bool_], size: int) -> Indices:
    """By slot the group before with the same neurons and pins; -1 where there is none, or no neuron. turned: (N,)
    whether a neuron is pinned now and was not, or the other way round."""
    source = np.full(size, -1, dtype=np.int64)
    counts = np.bincount(before[before >= 0], minlength=size)
    order = np.argsort(after, kind="stable")
    slots, first = np.unique(after[order], return_index=True)
    for slot, members in zip(slots, np.split(order, first[1:]), strict=True):
        old = before[members]
        same = slot >= 0 and old[0] >= 0 and (old == old[0]).all() and len(members) == counts[old[0]]
        if same and not turned[members].any():
            source[slot] = old[0]
    return source


def _shares(labels: Indices, weights: Array, size: int) -> Array:
    """(N,) weights over their group's sum; 0 for neurons in no group."""
    kept = labels >= 0
    totals = np.bincount(labels[kept], weights[kept], size)
    out = np.zeros(len(labels))
    out[kept] = weights[kept] / totals[labels[kept]]
    return out


def edited_grouping(grouping: Grouping, edits: Sequence[Edit], importance: Array) -> Grouping:
    """The grouping after its space's edits (`resolved`), with `info['edited']`, what was done in words, and
    `info['weights']` and `info['pins']`, as in `Groups`; the same object where they change nothing.

    merge[p][g, i] is the neuron's share of its group, unmerge[p][i, g] is 1; an empty group has zero rows, an excluded
    neuron zero columns. Groups that no edit touches keep their rows to the bit. importance: (N,), the parents' one
    after the other, > 0. FusionError in one line for a soft grouping and for what cannot be done.
    """
    before, sizes = groups_of(grouping), [m.shape[1] for m in grouping.merge]
    after, source = apply(before, edits, importance, sizes)
    if all((getattr(after, name) == getattr(before, name)).all() for name in ("labels", "shares", "pinned")):
        return grouping
    slots, kept = np.flatnonzero(source >= 0), source[source >= 0]
    merge, unmerge, labels, start = [], [], [], 0
    for size, m, u in zip(sizes, grouping.merge, grouping.unmerge, strict=True):
        rows, mine = np.arange(size), after.labels[start : start + size]
        new_m, new_u = np.zeros_like(m), np.zeros_like(u)
        inside = mine >= 0
        new_m[mine[inside], rows[inside]] = after.shares[start : start + size][inside]
        new_u[rows[inside], mine[inside]] = 1.0
        new_m[slots], new_u[:, slots] = m[kept], u[:, kept]
        merge.append(new_m)
        unmerge.append(new_u)
        labels.append(mine)
        start += size
    info = {**grouping.info, "edited": in_words(edits), "weights": after.weights, "pins": after.pins}
    return replace(grouping, merge=tuple(merge), unmerge=tuple(unmerge), labels=tuple(labels), info=info)


def in_words(edits: Iterable[Edit]) -> str:
    """'3 neurons moved, 1 pinned' of the edits of one space."""
    counts: Counter[str] = Counter()
    for edit in edits:
        counts[edit.edit] += len(edit.neurons)
    parts: list[str] = []
    for kind, count in counts.items():
        unit = "" if parts else " neuron" if count == 1 else " neurons"
        parts.append(f"{'groups of ' if kind == 'merge' else ''}{count}{unit} {_DONE[kind]}")
    return ", ".join(parts)
