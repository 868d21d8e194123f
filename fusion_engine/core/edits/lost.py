"""What groups lose of their neurons' variance, from second moments alone, and which other group would lose least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Array, Grouping, Indices
from .applying import Groups, raw_weights


def merge_error(covariance: Array, grouping: Grouping) -> Array:
    """(N,) variance each parent neuron loses when merged and unmerged: diag(R C R^T) with R = I - U M, >= 0."""
    merge, unmerge = np.concatenate(grouping.merge, 1), np.concatenate(grouping.unmerge, 0)
    merged = merge @ covariance
    fused = merged @ merge.T
    cross = np.einsum("jg,gj->j", unmerge, merged)
    error = np.diag(covariance) - 2 * cross + np.einsum("jg,jg->j", unmerge @ fused, unmerge)
    return np.asarray(error.clip(0), np.float64)


def group_error(covariance: Array, groups: Groups, only: Indices | None = None) -> Array:
    """`merge_error` of a hard grouping, (N,), at the cost of the pairs inside its groups. Neurons in no group lose all.
    only: of these groups' neurons; the others' entries are 0."""
    labels, own = groups.labels, np.diag(covariance)
    error = np.where(labels < 0, own, 0.0) if only is None else np.zeros(len(own))
    wanted = labels >= 0 if only is None else np.isin(labels, only)
    order = np.flatnonzero(wanted)[np.argsort(labels[wanted], kind="stable")]
    if not len(order):
        return error
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(members) > 1:
            block, share = covariance[np.ix_(members, members)], groups.shares[members]
            cross = block @ share
            error[members] = np.maximum(own[members] - 2 * cross + share @ cross, 0.0)
    return error


_COLUMNS = 128  # neurons at a time, so that what is computed of them stays in the processor's cache


@dataclass(frozen=True)
class GroupChange:
    """A group that edits change. slot: its number. before, after: its neurons, positions among the N. lost_before,
    lost_after: variance they lose. variance_before, variance_after: what they have."""

    slot: int
    before: Indices
    after: Indices
    lost_before: float
    lost_after: float
    variance_before: float
    variance_after: float


@dataclass(frozen=True)
class Change:
    """What edits do to a space. groups: those that change, by slot. lost_before, lost_after: share of the neurons'
    variance that the whole grouping loses. excluded: positions of neurons in no group, after. error: (N,) variance that
    each neuron loses, after."""

    groups: tuple[GroupChange, ...]
    lost_before: float
    lost_after: float
    excluded: Indices
    error: Array


def change(covariance: Array, before: Groups, after: Groups, source: Indices, error: Array | None = None) -> Change:
    """What leads from one grouping to another costs. source: by slot the group before that it is, unchanged, as `apply`
    says. error: (N,) `group_error` of `before`, where it is known."""
    variance = np.diag(covariance).clip(0)
    was = group_error(covariance, before) if error is None else error
    moved = np.flatnonzero((source != np.arange(before.size)) & ~_empty_in_both(before, after))
    kept = (after.labels >= 0) & (source[after.labels] >= 0)
    now = np.where(kept, was, np.where(after.labels < 0, variance, 0.0))
    now += group_error(covariance, after, only=np.unique(after.labels[~kept & (after.labels >= 0)]))
    total = float(variance.sum())
    found = []
    for slot in moved:
        old, new = np.flatnonzero(before.labels == slot), np.flatnonzero(after.labels == slot)
        sums = [float(values[at].sum()) for values, at in ((was, old), (now, new), (variance, old), (variance, new))]
        found.append(GroupChange(int(slot), old, new, *sums))
    lost_before, lost_after = (float(e.sum()) / total if total > 0 else 0.0 for e in (was, now))
    return Change(tuple(found), lost_before, lost_after, np.flatnonzero(after.labels < 0), now)


def _empty_in_both(before: Groups, after: Groups) -> NDArray[np.bool_]:
    return np.isin(np.arange(before.size), before.free) & np.isin(np.arange(after.size), after.free)


@dataclass(frozen=True)
class SecondBest:
    """Of every neuron, (N,): group: the one it would go to if it had to leave its own, -1 where there is no other.
    margin: what the space would lose more if it went there, as a share of the space's variance; below 0 the neuron
    would be better off there. NaN where there is no other group."""

    group: Indices
    margin: Array


def second_best(covariance: Array, groups: Groups, importance: Array) -> SecondBest:
    """By neuron the group that would take it in at the smallest loss.

    With w the neurons' own weights, a group of mean m = sum w_j f_j / W that takes in neuron i has the mean
    (W m + w_i f_i) / (W + w_i), and every loss is a sum of entries of the covariance. importance: (N,), > 0.
    """
    labels, shares, size = groups.labels, groups.shares, groups.size
    total, own = len(labels), np.diag(covariance).copy()
    raw, led = raw_weights(groups, importance), groups.led
    inside = np.flatnonzero(labels >= 0)
    if not len(inside):
        return SecondBest(np.full(total, -1), np.full(total, np.nan))
    order = inside[np.argsort(labels[inside], kind="stable")]
    first = np.flatnonzero(np.r_[True, np.diff(labels[order]) > 0])
    there = labels[order][first]  # groups with neurons
    counts = np.bincount(labels[inside], minlength=size)[there].astype(np.float64)
    rows = covariance[order]
    sums = np.add.reduceat(rows, first, axis=0)  # (g, N): sum of the members . every neuron
    means = np.add.reduceat(rows * shares[order, None], first, axis=0)
    place = np.full(size, -1)
    place[there] = np.arange(len(there))
    mine = place[labels[order]]
    norm = np.bincount(mine, shares[order] * means[mine, order], len(there))  # mean . mean
    cross = np.bincount(mine, means[mine, order], len(there))  # sum . mean
    squares = np.bincount(mine, own[order], len(there))
    lost = squares - 2 * cross + counts * norm
    mass = np.bincount(labels[inside], raw[inside], size)[there]
    own_group = np.where(labels >= 0, place[labels], -1)
    best, chosen = np.zeros(total, np.int64), np.zeros(total)
    for start in range(0, total, _COLUMNS):
        at = np.arange(start, min(start + _COLUMNS, total))
        # Joining: the mean moves by t towards the neuron, t = w / (W + w), or stays where pins lead.
        t = np.where(led[there][:, None], 0.0, raw[at] / (mass[:, None] + raw[at]))
        mean = means[:, at]
        step = own[at] - 2 * mean + norm[:, None]  # ||f_i - m||^2
        along = sums[:, at] - cross[:, None] - counts[:, None] * (mean - norm[:, None])  # sum_j (f_j - m) . (f_i - m)
        gain = (counts[:, None] * t**2 + (1 - t) ** 2) * step - 2 * t * along
        grouped = own_group[at] >= 0
        gain[own_group[at][grouped], np.flatnonzero(grouped)] = np.inf
        best[at] = gain.argmin(0)
        chosen[at] = gain[best[at], np.arange(len(at))]
    leaving = own.copy()  # what a neuron's own group loses now, less what it loses without it; all of it, in no group
    for g, members in enumerate(np.split(order, first[1:])):
        left = _without(covariance, members, raw[members], groups.pinned[members], bool(led[there[g]]))
        leaving[members] = lost[g] - left
    whole = float(own.clip(0).sum())
    some = np.isfinite(chosen)
    margin = np.full(total, np.nan)
    margin[some] = (chosen[some] - leaving[some]) / whole if whole > 0 else 0.0
    return SecondBest(np.where(some, there[best], -1), margin)


def _without(covariance: Array, members: Indices, raw: Array, leads: NDArray[np.bool_], led: bool) -> Array:
    """(m,) what a group loses of its other neurons' variance when one of its m members leaves."""
    count = len(members)
    if count < 3:  # who is left follows itself
        return np.zeros(count)
    block = covariance[np.ix_(members, members)]
    counting = np.tile(np.where(leads, raw, 0.0) if led else raw, (count, 1))
    np.fill_diagonal(counting, 0.0)
    alone = counting.sum(1) <= 0  # the only pin leaves: the others follow themselves again
    counting[alone] = raw
    np.fill_diagonal(counting, 0.0)
    share = counting / counting.sum(1, keepdims=True)
    cross = share @ block  # row i: the mean without i . every member
    norm = np.einsum("ij,ij->i", cross, share)
    own = np.diag(block)
    error = own[None, :] - 2 * cross + norm[:, None]
    np.fill_diagonal(error, 0.0)
    found: Array = np.maximum(error, 0.0).sum(1)
    return found
