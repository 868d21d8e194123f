"""Group every space of the traced model with a recipe's grouping, but for those whose grouping is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ..core import registry
from ..core.edits import Edit
from ..core.errors import FusionError
from ..core.recipe import Step
from ..core.types import Grouping, Space
from ..fusing import Inputs, ParentFeatures, RunLog
from ..graph import Trace
from ..stats import (
    Moments,
    SharedStatistics,
    SpaceStats,
    WideStats,
    grouping_sites,
    space_stats,
    standard_error,
)
from .editing import by_space, edited, note
from .from_labels import identity_grouping
from .heads import group_heads
from .network import Network
from .one_space import group, group_network

_FEW_ROWS, _NEURONS_A_ROW = 32, 8  # fewer rows than that, or more neurons a row, tell neurons apart only by luck


@dataclass
class Grouped:
    """The grouping of every space, and what a solver may need that groups some of them late.

    groupings  by space, in dependency order
    step       the recipe's grouping
    late       spaces that wait for the fused prefix (methods of scope 'level'); until then they have a grouping
               that sees no prefix
    stats      of the late spaces: the moments their groupings are made from
    given      groupings that were given, and so are not made again; as they are before edits
    edits      by space, what is changed by hand in the grouping that is made or given
    unedited   by edited space, its grouping before
    features   of the parents, kept from the pass that the moments took; None where no solver asked for any
    """

    groupings: dict[str, Grouping]
    step: Step
    late: frozenset[str] = frozenset()
    stats: Mapping[str, SpaceStats] = field(default_factory=dict)
    given: Mapping[str, Grouping] = field(default_factory=dict)
    edits: Mapping[str, Sequence[Edit]] = field(default_factory=dict)
    unedited: dict[str, Grouping] = field(default_factory=dict)
    features: ParentFeatures | None = None
    importance: Sequence[Mapping[str, Tensor]] = ()
    _refused: dict[str, FusionError] = field(default_factory=dict)

    def regroup(self, space: str, gram: Tensor, projected: Tensor) -> None:
        """Group a late space, now that the Gram (N, N) of its features projected on what its layer can represent is
        known; gram: of the same rows without the projection."""
        if space in self.given:
            return
        seen = replace(self.stats[space], gram=gram.cpu().numpy(), projected=projected.cpu().numpy())
        self._put(group(seen, self.step.method, self.step.parameters))

    def edit(self) -> None:
        """Apply the edits. Where they do not fit the grouping of a space that may still wait for the prefix, `check`
        says so, unless it is grouped again."""
        for name in self.edits:
            try:
                self._put(self.groupings[name])
            except FusionError as error:
                if name not in self.late or name in self.given:
                    raise
                self._refused[name] = error

    def check(self) -> None:
        """Raise FusionError where edits do not fit the grouping that a space has come to have."""
        for error in self._refused.values():
            raise error

    def _put(self, grouping: Grouping) -> None:
        name = grouping.space
        self._refused.pop(name, None)
        if name in self.edits:
            self.unedited[name] = grouping
            grouping = edited(grouping, self.edits[name], self.importance)
        self.groupings[name] = grouping

    def again(self, inputs: Inputs) -> Grouped:
        """The same, to be solved once more: late spaces wait again."""
        features = None if self.features is None else self.features.again(inputs)
        copies = {"groupings": dict(self.groupings), "unedited": dict(self.unedited), "_refused": dict(self._refused)}
        return replace(self, features=features, **copies)  # type: ignore[arg-type]


def group_every_space(
    inputs: Inputs,
    step: Step,
    log: RunLog,
    *,
    statistics: SharedStatistics | None = None,
    nodes: tuple[str, ...] = (),
    budget: int = 0,
    given: Mapping[str, Grouping] | None = None,
    edits: Sequence[Edit] = (),
) -> Grouped:
    """Group every space by `step` (a recipe's grouping, defaults filled in), but for those of `given`. The `edits`, of
    spaces and neurons that are known to be there, are applied to what was made or given.

    Joint moments of the parents' features come from `statistics`, or from one pass over the calibration samples, which
    keeps the features at `nodes` for a solver if they fit in `budget` bytes. Block spaces (heads) and the spaces inside
    them are grouped together. Spaces that no method can see get the identity. The notes name every space that gets
    another grouping than the step's, and what was edited. Raises FusionError where a space cannot be grouped or edited,
    or a given grouping does not fit the parents.
    """
    trace, given = inputs.trace, dict(given or {})
    spec = registry.get("grouping", step.method)
    _check_given(inputs, given)
    sites = grouping_sites(trace, str(step.parameters.get("features", "pre")))
    needed = _needs_moments(inputs, step) and not given.keys() >= trace.spaces.keys()
    judged = needed and (step.method == "auto" or "auto" in step.parameters.values())
    features = ParentFeatures(
        inputs, nodes, budget, sites=sites if needed else None, judged=judged and bool(inputs.held_out.any())
    )
    if needed:
        moments = features.moments(statistics or SharedStatistics(), log.progress)
    else:
        moments = {}
        features.keep(log.progress.part(0.0, 0.5))
    stats = {name: _stats(inputs, trace.spaces[name], m) for name, m in moments.items() if name in trace.spaces}
    _report_wide(log, stats, given)
    if inputs.count > 1:
        _report_few(log, {name: found for name, found in stats.items() if name not in given})
    nests = trace.nests if needed else {}
    groupings = dict(given)
    if inputs.count > 1 and spec.scope == "network" and not given.keys() >= trace.spaces.keys():
        groupings |= _by_weights(inputs, step, moments, given)
    for name, progress in log.progress.part(0.5, 1.0).each(trace.spaces, lambda name: f"grouping {name}"):
        if name in groupings:
            continue
        if name in nests:
            groupings |= group_heads(inputs, nests[name], moments, step)
        elif name in stats:
            groupings[name] = group(stats[name], step.method, step.parameters, progress)
        else:
            sizes = [trace.fitting(state).spaces[name].size for state in inputs.states]
            groupings[name] = identity_grouping(name, sizes, inputs.sizes.get(name, trace.spaces[name].size))
    groupings = {name: groupings[name] for name in trace.spaces}
    _report(log, groupings, [name for name in nests if name not in given])
    for nest in nests.values():
        for name in nest.unseen if nest.block not in given else ():
            log.note(f"warning: space {name} inside {nest.block} is read nowhere together with it: it keeps its order")
    waits = spec.scope == "level" and inputs.count > 1
    late = frozenset(n for n in sites if n in trace.spaces and not isinstance(stats.get(n), WideStats) and waits)
    if waits:
        _report_early(log, trace, stats)
    grouped = Grouped(
        groupings, step, late, stats if waits else {}, given, by_space(edits), features=features if nodes else None,
        importance=inputs.importance,
    )  # fmt: skip
    if edits:
        grouped.edit()
        log.note(note(grouped.edits))
    return grouped


def _check_given(inputs: Inputs, given: Mapping[str, Grouping]) -> None:
    """Raise FusionError for given groupings of other spaces, parents or widths, and for heads without their inside."""
    trace = inputs.trace
    for name, grouping in given.items():
        if name not in trace.spaces:
            raise FusionError(f"a grouping is given of a space {name!r}{registry.nearest(name, trace.spaces)}")
        size = inputs.sizes.get(name, trace.spaces[name].size)
        widths = [trace.fitting(state).spaces[name].size for state in inputs.states]
        shapes = [(size, width) for width in widths]
        if [m.shape for m in grouping.merge] != shapes or [u.shape[::-1] for u in grouping.unmerge] != shapes:
            raise FusionError(
                f"the grouping given of space {name!r} is not of these parents: it should bring "
                f"{', '.join(map(str, widths))} neurons to {size}"
            )
    kept = [s.name for s in trace.spaces.values() if any(m.tensor in inputs.kept_tensors for m in s.members)]
    missing = [name for name in kept if name not in given]
    if missing:
        raise FusionError(
            f"the groupings that the kept levels go with have to be given, and {missing[0]!r} is not; "
            "give those of the finished fusion"
        )
    for block, nest in trace.nests.items():
        whole = {block, *nest.inside}
        missing = sorted(whole - given.keys())
        if missing and len(missing) < len(whole):
            raise FusionError(
                f"heads are grouped together with what is inside them: give the grouping of {missing[0]!r} as well"
            )


def _needs_moments(inputs: Inputs, step: Step) -> bool:
    """Whether the grouping has to see features; one parent that keeps its width is its own grouping."""
    same = all(inputs.sizes.get(name, space.size) == space.size for name, space in inputs.trace.spaces.items())
    spec = registry.get("grouping", step.method)
    sees = "moments" in spec.needs or (spec.scope == "network" and bool(inputs.trace.nests))
    return sees and (inputs.count > 1 or not same)


def _by_weights(
    inputs: Inputs, step: Step, moments: Mapping[str, Moments], given: Mapping[str, Grouping]
) -> dict[str, Grouping]:
    """All spaces, by a grouping that sees the networks' weights; heads and what is inside them by their features."""
    trace, done = inputs.trace, dict(given)
    for block, nest in trace.nests.items():
        if block not in given:
            done |= group_heads(inputs, nest, moments, step)
    network = Network(
        trace=trace,
        states=tuple(inputs.folded),
        sizes=inputs.sizes,
        importance=tuple(
            {name: scores[name].double().cpu().numpy() for name in trace.spaces} for scores in inputs.importance
        ),
        seed=inputs.seed,
        known=done,
    )
    return done | group_network(network, step.method, step.parameters)


def _stats(inputs: Inputs, space: Space, moments: Moments) -> SpaceStats:
    importance = tuple(scores[space.name].double().cpu().numpy() for scores in inputs.importance)
    return space_stats(
        moments, space=space.name, sizes=tuple(len(s) for s in importance), importance=importance,
        size=inputs.sizes.get(space.name, space.size), seed=inputs.seed, freedom=space.freedom,
    )  # fmt: skip


def _report_wide(log: RunLog, stats: Mapping[str, SpaceStats], given: Mapping[str, Grouping]) -> None:
    """Which spaces are compared by points, and how exact that is; a note where it is not."""
    chosen = {}
    for name, found in stats.items():
        if name in given or not isinstance(found, WideStats):
            continue
        points, coordinates = found.points, found.points.at.shape[1]
        how: dict[str, Any] = {"neurons": len(points.at), "coordinates": coordinates, "rows": found.count}
        if points.error is None:
            chosen[name] = how | {"exact": True}
            continue
        root, largest = (float(e) for e in points.error)
        how |= {"exact": False, "standard_error": standard_error(), "measured_error": root, "largest_error": largest}
        chosen[name] = how
        log.note(
            f"{name}: its {len(points.at)} neurons of all parents are compared by random projections of {found.count} "
            f"rows to {coordinates} numbers; squared distances between them have a standard error of up to "
            f"{100 * standard_error():.1f} % (measured: {100 * root:.1f} %, at most {100 * largest:.1f} %)"
        )
    if chosen:
        log.decide("wide", chosen)


def _report_few(log: RunLog, stats: Mapping[str, SpaceStats]) -> None:
    """A warning of spaces whose neurons are told apart by hardly any rows: read behind a pooling, of few samples."""
    few = {n: s for n, s in stats.items() if s.count < max(_FEW_ROWS, min(s.sizes) // _NEURONS_A_ROW)}
    if few:
        worst = min(few, key=lambda name: few[name].count / min(few[name].sizes))
        others = f", and of {len(few) - 1} more spaces," if len(few) > 1 else ""
        log.note(
            f"warning: the {min(few[worst].sizes)} neurons of {worst}{others} are compared by {few[worst].count} rows "
            "(samples x positions), which may be too few to tell them apart: give more calibration samples"
        )


def _report_early(log: RunLog, trace: Trace, stats: Mapping[str, SpaceStats]) -> None:
    """A note on wide spaces whose grouping would wait for the fused prefix, where that could change it: where layers
    have more rows than inputs, and so cannot represent everything."""
    early = []
    for name, found in stats.items():
        inputs = [math.prod(trace.shapes[x.weight][1:]) for x in trace.layers.values() if x.space == name]
        if isinstance(found, WideStats) and found.count > min(inputs, default=0):
            early.append(name)
    if early:
        log.note(
            f"{', '.join(early)}: too wide to be matched by what the fused network's layers can represent; matched by "
            "the parents' features as they are"
        )


def _report(log: RunLog, groupings: Mapping[str, Grouping], heads: list[str]) -> None:
    """What was chosen automatically, and which heads got another grouping than asked for."""
    chosen = {n: dict(g.info["chosen"]) for n, g in groupings.items() if "chosen" in g.info}
    if chosen:
        log.decide("grouping", chosen)
    for name in heads:
        fallback = groupings[name].info.get("fallback")
        if fallback:
            log.note(f"space {name} and what is inside it: grouped by {groupings[name].method}, as {fallback}")
