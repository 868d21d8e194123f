"""Error budget: where, level by level, a fused network loses what its parents know together.

With F_p parent p's tensor at the output of level l, M_p and U_p the merge and unmerge matrices of the spaces seen
there, H the fused network's tensor there, and R_p the rest of parent p (all levels after l), three ensembles are
compared:

    parents   R_p(F_p)                  nothing is lost: the ensemble itself, the same at every level
    grouped   R_p(U_p sum_q M_q F_q)    every parent goes on from the parents' merged features: what is lost here is
                                        lost by describing all parents by the fused neurons (grouping loss)
    fused     R_p(U_p H)                every parent goes on from what the fused network made of its input: what is
                                        lost beyond that is lost because the fused levels up to l do not produce the
                                        merged features (approximation loss)

The k outputs are joined as the recipe joins them at the output (its head weights; for `confidence` the softmax
ensemble). At the last level nothing is grouped but the classes, so `grouped` is the ensemble and `fused` is the fused
network. Features are merged where levels end, after the activation function, as solver `gradient` merges them; least
squares merges before it, which may make its approximation loss slightly negative.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.errors import DataError, ParentError
from ..core.progress import Progress
from ..core.types import Grouping, State
from ..data import Dataset
from ..evaluation import Evaluation, measure_logits
from ..fusing import OutputWeights
from ..graph import Program, Trace, merge_activations, output_shape, unmerge_activations
from ..stats import fitting_batch
from ..tasks import required_task


@dataclass(frozen=True)
class LevelBudget:
    """Evaluations of the parents' rest after one level: fed with merged features, and with the fused network's."""

    index: int
    name: str
    grouped: Evaluation
    fused: Evaluation


@dataclass(frozen=True)
class ErrorBudget:
    """ensemble: of the parents. levels: by depth; the last one's `fused` is the fused network itself."""

    ensemble: Evaluation
    levels: tuple[LevelBudget, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for reports; losses in accuracy, as shares: positive is lost."""

        def between(first: Evaluation, second: Evaluation) -> float:
            return (first.accuracy or 0.0) - (second.accuracy or 0.0)

        return {
            "ensemble": _short(self.ensemble),
            "fused": _short(self.levels[-1].fused),
            "levels": [
                vars(v) | {"grouped": _short(v.grouped), "fused": _short(v.fused)} | {
                    "grouping_loss": between(self.ensemble, v.grouped),
                    "approximation_loss": between(v.grouped, v.fused),
                }
                for v in self.levels
            ],
        }


def error_budget(
    trace: Trace,
    states: Sequence[State],
    fused: State,
    groupings: Mapping[str, Grouping],
    data: Dataset,
    head: OutputWeights,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> ErrorBudget:
    """The budget of a fused network on labelled data. Raises DataError without labels, ParentError if the groupings
    are not of these parents.

    trace: with variants for all widths among `states` and `fused`. groupings: the fusion's, by space.
    """
    if data.y is None:
        raise DataError(f"{data.name}: there are no labels, and an error budget needs them (add an array y)")
    task = required_task(data, output_shape(trace))
    if not task.has_classes:
        raise DataError(f"{data.name}: an error budget is one of accuracy, and these labels are values to predict")
    if any(len(grouping.merge) != len(states) for grouping in groupings.values()):
        raise ParentError("the fused network was made from another number of parents; give the parents it was made of")
    k, inner = len(states), trace.levels[:-1]
    *states, fused = [{name: tensor.to(device) for name, tensor in state.items()} for state in (*states, fused)]
    program = Program(trace, None, [*(level.output for level in inner), trace.output])
    rests = [Program(trace, [level.output], [trace.output]) for level in inner]
    outputs: dict[str, list[Tensor]] = {}

    def keep(key: str, logits: Sequence[Tensor]) -> None:
        outputs.setdefault(key, []).append(task.spread(head.target([own_outputs(rows.cpu()) for rows in logits])))

    def own_outputs(tensor: Tensor) -> Tensor:
        return task.outputs(task.logits(tensor))

    done, progress = 0, progress or Progress()
    with torch.inference_mode():
        for x, _ in data.batches(fitting_batch(trace, copies=k + 2)):
            own = [program(state, x.to(device)) for state in states]
            made = program(fused, x.to(device))
            keep("ensemble", [tensors[-1] for tensors in own])
            outputs.setdefault("fused", []).append(task.logits(made[-1].cpu()))
            for level, rest in zip(inner, rests, strict=True):
                progress.report(done / len(data), f"features after level {level.name}")
                at = level.index
                merged = merge_activations(trace, groupings, level.output, [tensors[at] for tensors in own])
                for key, features in (("grouped", merged), ("fused", made[at])):
                    copies = unmerge_activations(trace, groupings, level.output, features, k)
                    logits = [rest(state, copy)[0] for state, copy in zip(states, copies, strict=True)]
                    keep(f"{key} {at}", logits)
            done += len(x)
    found = {key: measure_logits(torch.cat(parts), data, task) for key, parts in outputs.items()}
    levels = [LevelBudget(v.index, v.name, found[f"grouped {v.index}"], found[f"fused {v.index}"]) for v in inner]
    last = trace.levels[-1]
    levels.append(LevelBudget(last.index, last.name, found["ensemble"], found["fused"]))
    return ErrorBudget(found["ensemble"], tuple(levels))


def _short(evaluation: Evaluation) -> dict[str, float | None]:
    return {"accuracy": evaluation.accuracy, "loss": evaluation.loss}
