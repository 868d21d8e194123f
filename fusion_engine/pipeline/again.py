"""Fuse again with other edits, from a finished fusion: what of it stays the same is taken over, to the bit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core import registry
from ..core.errors import FusionError
from ..core.recipe import Recipe
from ..core.types import Grouping, State
from ..fusing import Inputs, Resume, RunLog
from ..graph import Trace
from ..grouping.editing import by_space
from .prepare import Prepared
from .report import versions


@dataclass(frozen=True)
class Finished:
    """What another fusion of the same parents can take over from a finished one.

    recipe: all defaults filled in. groupings: of every space, before edits. solved: the state before refining. report:
    that fusion's. parents: their digests.
    """

    recipe: Recipe
    groupings: Mapping[str, Grouping]
    solved: State
    report: Mapping[str, Any]
    parents: tuple[str, ...]


def go_on(prepared: Prepared, finished: Finished, log: RunLog) -> tuple[Prepared, dict[str, Grouping]]:
    """What to fuse and the groupings to give, so that the result is that of a whole fusion, to the bit.

    Levels before the first that the change of edits touches keep their solved weights. Where that would not be to the
    bit, they are made again, and a note says so. FusionError in one line where the fusions differ in more than edits.
    """
    _check(prepared, finished)
    inputs, step = prepared.inputs, prepared.recipe.grouping
    trace, solver = inputs.trace, registry.get("solver", prepared.recipe.solver.method)
    inside = {name for nest in trace.nests.values() for name in nest.inside}
    late = registry.get("grouping", step.method).scope == "level" and inputs.count > 1
    if finished.report["versions"] != versions():
        return _whole(prepared, log, "it was made by other versions")
    if finished.report["decisions"].get("few_samples", {}).get("taken", "recipe") != "recipe":
        return _whole(prepared, log, "its few samples spoke for another network than the recipe's")
    if any("sources" not in finished.groupings[name].info for name in inside):
        return _whole(prepared, log, "how heads were matched is not kept")
    if inputs.reserve or not solver.by_level:
        # With training, what was solved has seen the held-out samples or not, by what the training brought.
        why = "trained weights depend on all levels" if inputs.reserve else "its solver looks at all levels"
        if late:
            return _whole(prepared, log, why)
        log.note(f"groupings are those of the earlier fusion, and all levels were solved again: {why}")
        return prepared, dict(finished.groupings)
    old, new = by_space(finished.recipe.edits), by_space(prepared.recipe.edits)
    differing = [name for name in trace.spaces if old.get(name) != new.get(name)]
    level = min((_first_level(trace, name) for name in differing), default=len(trace.levels) - 1)
    resumed = replace(inputs, resume=Resume(level, finished.solved, finished.report["decisions"]))
    given = dict(finished.groupings)
    if late:  # what comes later is grouped with the new prefix known
        given = {name: grouping for name, grouping in given.items() if _touches(resumed, name)}
        if any(name in given for name in inside) and not inside | trace.nests.keys() <= given.keys():
            return _whole(prepared, log, "heads are grouped together")
    kept = f"levels 0 to {level - 1} are" if level > 1 else "level 0 is" if level else "no level is"
    log.note(f"{kept} kept from the earlier fusion")
    return replace(prepared, inputs=resumed), given


def _whole(prepared: Prepared, log: RunLog, why: str) -> tuple[Prepared, dict[str, Grouping]]:
    log.note(f"nothing was kept from the earlier fusion: {why}")
    return prepared, {}


def _check(prepared: Prepared, finished: Finished) -> None:
    """Raise FusionError unless the fusions are of the same parents, samples, seed and recipe apart from edits."""
    inputs, report = prepared.inputs, finished.report

    def bare(recipe: Recipe) -> dict[str, Any]:
        return {k: v for k, v in recipe.to_mapping().items() if k not in ("edits", "name")}

    own = bare(prepared.recipe)
    others = [part for part, value in bare(finished.recipe).items() if own[part] != value]
    differences = (
        (tuple(parent.digest for parent in prepared.parents) != finished.parents, "has other parents"),
        (inputs.data.digest != report["calibration"]["digest"], "has other calibration samples"),
        (inputs.seed != report["seed"], f"has seed {report['seed']}"),
        (bool(others), f"has another {' and another '.join(others)} in its recipe"),
    )
    for differs, what in differences:
        if differs:
            raise FusionError(f"the earlier fusion {what}, so this one cannot go on from it; fuse without it")


def _first_level(trace: Trace, space: str) -> int:
    """The first level that uses a tensor of the space."""
    names = _tensors(trace, space)
    return next((level.index for level in trace.levels if not names.isdisjoint(level.tensors)), 0)


def _touches(inputs: Inputs, space: str) -> bool:
    """Whether the space has tensors in the kept levels."""
    return not _tensors(inputs.trace, space).isdisjoint(inputs.kept_tensors)


def _tensors(trace: Trace, space: str) -> set[str]:
    return {alias for m in trace.spaces[space].members for alias in trace.aliases.get(m.tensor, (m.tensor,))}
