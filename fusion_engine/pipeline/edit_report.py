"""What a report says of groupings edited by hand: what was done, and the variance that is lost before and after."""

from __future__ import annotations

import numpy as np

from ..core.edits.applying import apply, groups_of, in_words
from ..core.edits.lost import Change, change
from ..core.types import Array, Indices
from ..fusing import RunLog
from ..grouping import Grouped
from ..stats import FeatureMoments, Wanted, feature_sites, fitting_batch, read_moments
from .prepare import Prepared
from .shapes import EditedGroup, EditedSpace


def edit_report(prepared: Prepared, grouped: Grouped, log: RunLog) -> list[EditedSpace]:
    """An entry for every edited space, from the joint moments of its pre-activations over the calibration samples."""
    covariances = _covariances(prepared, grouped, log)
    return [_entry(grouped, name, covariances.get(name)) for name in grouped.edits]


def _entry(grouped: Grouped, name: str, covariance: Array | None) -> EditedSpace:
    unedited, edits = grouped.unedited[name], grouped.edits[name]
    sizes = [m.shape[1] for m in unedited.merge]
    importance = np.concatenate([scores[name].double().cpu().numpy() for scores in grouped.importance])
    before = groups_of(unedited)
    after, source = apply(before, edits, importance, sizes)
    known = np.zeros((len(importance), len(importance))) if covariance is None else covariance
    found = change(known, before, after, source)
    names = [f"{p}:{i}" for p, size in enumerate(sizes) for i in range(size)]
    measured = covariance is not None
    return {
        "space": name,
        "done": in_words(edits),
        "lost_before": found.lost_before if measured else None,
        "lost_after": found.lost_after if measured else None,
        "groups": _groups(found, names, measured),
        "excluded": _named(found.excluded, names),
        "free": len(after.free),
    }


def _groups(found: Change, names: list[str], measured: bool) -> list[EditedGroup]:
    return [
        {
            "group": group.slot,
            "before": _named(group.before, names),
            "after": _named(group.after, names),
            "lost_before": _share(group.lost_before, group.variance_before) if measured else None,
            "lost_after": _share(group.lost_after, group.variance_after) if measured else None,
        }
        for group in found.groups
    ]


def _named(at: Indices, names: list[str]) -> list[str]:
    return [names[i] for i in at]


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _covariances(prepared: Prepared, grouped: Grouped, log: RunLog) -> dict[str, Array]:
    """By edited space (N, N); none of spaces that no node shows."""
    inputs = prepared.inputs
    sites = feature_sites(inputs.trace, grouped.edits)
    if not sites:
        return {}
    size = fitting_batch(inputs.trace, copies=inputs.count)

    def read(gathered: FeatureMoments) -> None:
        read_moments(
            gathered, inputs.trace, inputs.states, inputs.data, batch_size=size, progress=log.progress,
            device=str(inputs.device),
        )  # fmt: skip

    wanted = Wanted(inputs.trace, inputs.states, inputs.data, sites, size, precision="double")
    moments = prepared.statistics.moments(wanted, read)
    return {n: m.gram / max(m.count, 1) - np.outer(m.mean, m.mean) for n, m in moments.items()}
