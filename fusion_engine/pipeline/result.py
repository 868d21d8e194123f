"""A fused network and everything known about how it came to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from .. import __version__
from ..core.errors import FusionError
from ..core.recipe import Recipe
from ..core.types import Grouping
from ..fusing import Resume, RunLog
from ..graph import Trace
from ..grouping import Grouped
from ..parents import Metadata, Parent, config_for, header, load_tensors, module_copy, module_for, write_state
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
    steps. report: see the command line's report.json.
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
        """Write fused.safetensors (with the parents' own tensor names), recipe.yaml, report.json, groupings.npz; and to
        go on from, solved.safetensors of recipes with steps after the solve, unedited.npz of those with edits."""
        from ..store.results import write_result

        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        write_state(path / "fused.safetensors", self.file_state(), self.metadata())
        if self.recipe.post:
            write_state(path / "solved.safetensors", self._named(self.solved), {})
        write_result(path, self.recipe.to_yaml(), self.report, self.groupings, self.importance, self.unedited)

    def file_state(self) -> dict[str, Tensor]:
        """The fused state under the names of the first parent's file, so that it loads in the parents' code."""
        return self._named(self.state)

    def _named(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = self._file_names()
        return {names[name]: tensor for name, tensor in state.items()}

    def metadata(self) -> dict[str, str]:
        """Text metadata of the fused file: what network its weights are of, and how they came to be."""
        about = {"fused_by": f"neuron-fusion-lab {__version__}", "recipe": self.recipe.to_yaml()}
        if not self.parents:
            return about
        assumed = {field: line for parent in self.parents for field, line in parent.metadata.assumed.items()}
        config = config_for(self.parents, self.state)
        return {**about, **header(config, self._file_names(), Metadata(assumed=assumed))}

    def _file_names(self) -> dict[str, str]:
        names = self.parents[0].key_map if self.parents else {}
        return {name: names.get(name, name) for name in self.state}


def fusion_result(
    prepared: Prepared,
    grouped: Grouped,
    solved: Mapping[str, Tensor],
    fused: Mapping[str, Tensor],
    references: Mapping[str, Any],
    log: RunLog,
    edits: Sequence[EditedSpace] = (),
) -> FusionResult:
    """The result of a fusion whose states are `solved` and `fused`; references: the report's figures on test data;
    edits: what it says of edits."""
    parents, inputs, groupings = prepared.parents, prepared.inputs, grouped.groupings
    state, before = ({n: s[n].detach().cpu() for n in parents[0].state} for s in (fused, solved))
    model = module_copy(module_for(parents, state))
    load_tensors(model, state)
    report = facts(prepared, groupings, log)
    if edits:
        report["edits"] = list(edits)
    return FusionResult(
        state=state, model=model.eval(), groupings=groupings,
        importance={n: [s[n].double().cpu().numpy() for s in inputs.importance] for n in inputs.importance[0]},
        report={**references, **report, "width": width(parents, model, inputs.trace, groupings)},
        recipe=prepared.recipe, trace=inputs.trace, parents=parents,
        unedited=dict(grouped.unedited), solved=before,
    )  # fmt: skip
