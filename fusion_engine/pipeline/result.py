"""A fused network and everything known about how it came to be."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import __version__
from ..core.errors import FusionError
from ..core.recipe import Recipe
from ..core.types import Grouping
from ..evaluation import Predictions
from ..fusing import Resume, RunLog
from ..graph import Trace
from ..grouping import Grouped
from ..parents import Metadata, Parent, config_for, file_tensors, fill, header, module_copy, module_for, write_state
from .again import Finished
from .prepare import Prepared
from .report import facts, width
from .shapes import EditedSpace


@dataclass(frozen=True)
class FusionResult:
    """A fused network and everything known about how it came to be.

    state: the parents' canonical tensor names -> tensors. model: a copy of the parents' module with those weights,
    in eval mode. trace: the parents' common graph. groupings: space -> Grouping. importance: space (and 'output')
    -> k arrays. unedited: of the edited spaces, the groupings before. solved: the state before the recipe's refining
    steps. report: see the command line's report.json. predictions: what each network says of every test sample, of
    classes.
    """

    state: dict[str, Tensor]
    model: nn.Module
    groupings: dict[str, Grouping]
    importance: dict[str, list[np.ndarray]]
    report: dict[str, Any]
    recipe: Recipe
    trace: Trace = field(repr=False)
    parents: tuple[Parent, ...] = field(repr=False, default=())
    unedited: dict[str, Grouping] = field(repr=False, default_factory=dict)
    solved: dict[str, Tensor] = field(repr=False, default_factory=dict)
    predictions: Predictions | None = field(repr=False, default=None)

    def resume(self, level: int) -> Resume:
        """What `fuse(..., groupings=..., resume=...)` needs to go on from `level`, a number from 0 on, with all levels
        before it as they were solved here. Raises FusionError for a level that is not there."""
        if not 0 <= level < len(self.trace.levels):
            raise FusionError(f"there is no level {level}; the network has levels 0 to {len(self.trace.levels) - 1}")
        return Resume(level, self.solved, self.report["decisions"])

    def finished(self) -> Finished:
        """What `fuse_again` goes on from."""
        groupings, digests = {**self.groupings, **self.unedited}, tuple(parent.digest for parent in self.parents)
        return Finished(self.recipe, groupings, self.solved, self.report, digests)

    def save(self, folder: str | Path) -> None:
        """Write fused.safetensors (with the parents' own tensor names), recipe.yaml, report.json, groupings.npz,
        predictions.npz where there are any; and to go on from, solved.safetensors of recipes with steps after the
        solve, unedited.npz of those with edits."""
        from ..store.results import write_predictions, write_result

        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        write_state(path / "fused.safetensors", self.file_state(), self.metadata())
        if self.recipe.post or self._file_types():
            write_state(path / "solved.safetensors", self._named(self.solved, {}), {})
        if self.predictions is not None:
            write_predictions(path, self.predictions.as_arrays())
        write_result(path, self.recipe.to_yaml(), self.report, self.groupings, self.importance, self.unedited)

    def file_state(self) -> dict[str, Tensor]:
        """The fused state as the first parent's file has it, so that it loads strictly in the parents' code: under its
        names, no more and no fewer, in the parents' types, with what the file holds beside the network."""
        return self._named(self.state, self._file_types())

    def _named(self, state: Mapping[str, Tensor], types: Mapping[str, torch.dtype]) -> dict[str, Tensor]:
        return file_tensors(self.parents[0], state, types) if self.parents else dict(state)

    def _file_types(self) -> dict[str, torch.dtype]:
        """Canonical name -> type in the files, of those that all parents' files have in another type than they have
        here; where the parents differ, the one that holds the numbers of all."""
        types: dict[str, torch.dtype] = {}
        for name in self.parents[0].dtypes if self.parents else ():
            kinds = [parent.dtypes.get(name, parent.state[name].dtype) for parent in self.parents]
            types[name] = functools.reduce(torch.promote_types, kinds)
        return types

    def metadata(self) -> dict[str, str]:
        """Text metadata of the fused file: what network its weights are of, and how they came to be."""
        about = {"fused_by": f"neuron-fusion-lab {__version__}", "recipe": self.recipe.to_yaml()}
        if not self.parents:
            return about
        assumed = {field: line for parent in self.parents for field, line in parent.metadata.assumed.items()}
        config = config_for(self.parents, self.state)
        return {**about, **header(config, self.parents[0], Metadata(assumed=assumed))}


def fusion_result(
    prepared: Prepared,
    grouped: Grouped,
    solved: Mapping[str, Tensor],
    fused: Mapping[str, Tensor],
    references: Mapping[str, Any],
    log: RunLog,
    edits: Sequence[EditedSpace] = (),
    answers: Predictions | None = None,
) -> FusionResult:
    """The result of a fusion whose states are `solved` and `fused`; references: the report's figures on test data;
    edits: what it says of edits; answers: of all networks to the test data."""
    parents, inputs, groupings = prepared.parents, prepared.inputs, grouped.groupings
    state, before = ({n: s[n].detach().cpu() for n in parents[0].state} for s in (fused, solved))
    model = module_copy(module_for(parents, state))
    fill(model, state)
    kinds = {str(t).removeprefix("torch.") for p in parents[:1] for t in p.dtypes.values() if t.is_floating_point}
    if kinds:
        shown = " and ".join(sorted(kinds))
        log.note(f"the fused file is written in {shown}, as the parents' are; figures are of float32")
    report = facts(prepared, groupings, log)
    if edits:
        report["edits"] = list(edits)
    return FusionResult(
        state=state, model=model.eval(), groupings=groupings,
        importance={n: [s[n].double().cpu().numpy() for s in inputs.importance] for n in inputs.importance[0]},
        report={**references, **report, "width": width(parents, model, inputs.trace, groupings)},
        recipe=prepared.recipe, trace=inputs.trace, parents=parents,
        unedited=dict(grouped.unedited), solved=before, predictions=answers,
    )  # fmt: skip
