"""The gradient solver: level after level, weights trained to reproduce the parents' merged outputs."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from torch import Tensor

from ...core.level_plan import Plan, candidate_plans, finest, format_plan, merge_levels, parse_plan
from ...core.registry import Param, register
from ...fusing import (
    EFFORTS,
    Effort,
    EffortParameter,
    HeadParameter,
    HeadWeights,
    Inputs,
    RunLog,
    batch_size,
    forward_work,
    output_weights,
)
from ...fusing.first_parent import align_to_first, keeps_first_width
from ...fusing.training import Optimiser, Scheduler, TrainingSettings
from ...graph import merge_states, shape
from ...grouping import Grouped
from ..least_squares.method import least_squares, nodes_to_read
from .level_data import Goal, Lesson, Merged, draw_pool
from .level_problem import level_nodes, node_weights
from .level_run import LevelRun, Options

Start = Literal["least_squares", "average", "first_parent"]

# Below this many held-out samples nothing is searched for: their error would choose by chance.
_JUDGES = 20
_FEW_EPOCHS = 3
_CHUNK = 128  # most samples run at once, so that a request to cancel is heard soon
# What "as many as are cheap" means. Work is multiplications and additions, forward and backward, of all epochs of a
# run: a count, as seconds would differ from run to run.
_WORK = 2e12
_LEAST_EPOCHS, _MOST_EPOCHS = 8, 100  # the first: what mixtures must leave
_MOST_MIXTURES = 16
_MOST_PASSES = 340  # samples and mixtures seen, for every calibration sample


@register(
    "solver",
    "gradient",
    title="Gradient descent, level after level",
    citation="Luenam et al. 2025 (gradient), warm-started by least squares",
    needs={"moments", "gradients"},
    uses={"importance"},
    scope="network",
    reads=nodes_to_read,
)
def gradient(
    inputs: Inputs,
    grouped: Grouped,
    log: RunLog,
    *,
    start: Annotated[Start, Param("the weights training starts from; the papers start from the first parent")] = (
        "least_squares"
    ),
    levels: Annotated[str, Param("auto, or levels merged by hand, every one once and in order: 0-2,3,4-7")] = "auto",
    head_target: Annotated[
        Literal["distil", "merged"],
        Param("what the last level learns: the parents' softmax ensemble, or their weighted logits"),
    ] = "distil",
    head_weights: HeadParameter = "importance",
    temperature: Annotated[float, Param("softens the ensemble's predictions", ge=0.05, le=20.0)] = 2.0,
    epochs: Annotated[
        int | Literal["auto"],
        Param("most epochs a level; auto: as many as are cheap", ge=1, le=100_000, usual=(5, 200)),
    ] = "auto",
    effort: EffortParameter = "quick",
    rate: Annotated[
        float | Literal["auto"],
        Param("highest learning rate; auto: by held-out error", ge=1e-7, le=1e3, usual=(1e-4, 0.1)),
    ] = "auto",
    optimiser: Annotated[Optimiser, Param("how steps are taken", expert=True)] = "adam",
    scheduler: Annotated[Scheduler, Param("how the rate changes over the epochs", expert=True)] = "one_cycle",
    batch: Annotated[int, Param("samples a step", ge=1, le=4096, expert=True)] = 64,
    patience: Annotated[
        int, Param("epochs without a better held-out error before a level stops", ge=1, le=1000, expert=True)
    ] = 10,
    weight_decay: Annotated[float, Param("pull of the weights towards zero", ge=0.0, le=1.0, expert=True)] = 0.0,
    perturbation: Annotated[
        float, Param("noise added to the start, relative to each tensor's deviation", ge=0.0, le=10.0, expert=True)
    ] = 0.0,
    mixtures: Annotated[
        int | Literal["auto"],
        Param("mixtures of pairs of samples to train on, for every sample; auto: as many as are cheap", ge=0, le=100),
    ] = "auto",
    shift: Annotated[
        float, Param("images: largest random shift of a mixture as a part of the side", ge=0.0, le=0.5, expert=True)
    ] = 0.0,
    align_skips: Annotated[
        bool, Param("residual streams inside a level have targets as well", label="Align skips", expert=True)
    ] = True,
    memory_mb: Annotated[
        int, Param("kept activations; beyond it they are computed again", ge=1, label="Memory (MB)", expert=True)
    ] = 1024,
) -> dict[str, Tensor]:
    """Level after level, trains the weights to map the fused model so far to the parents' merged level outputs.

    Loss of a level: mean of w (f - T)^2 in shares of the target's variance, with f the level's output behind the
    finished levels before it, T = sum_p M_p F_p the parents' merged tensors at the level's output and w the
    importance of the fused neuron (the sum of its members' scores, mean 1). The last level learns the softmax
    ensemble (`distil`: Kullback-Leibler divergence, Hinton et al. 2015) or the weighted logits (`merged`).

    Levels are cut where a single tensor crosses the graph, so a residual block's target is the merged stream behind
    its addition, never its branch alone: the branch makes up for what the stream before it lacks. With `align_skips`
    a level that holds several additions, or ends some steps behind one, is compared with the merged stream at each.
    Norms stay in eval mode, and batch norms behind a layer are folded (parameters stay trainable). A tensor that
    several levels share is trained in the first. Held-out samples judge: the best weights seen are kept, the level's
    own start among them; a level that diverges gets its least-squares solution, and the notes say so.

    Late spaces are grouped by the least-squares solver, whatever the start. Returns the fused state.
    Raises RecipeError for levels that do not fit the model.
    """
    trace, count = inputs.trace, len(inputs.trace.levels)
    plan = None if levels == "auto" else parse_plan(levels, count)
    settings = TrainingSettings(0, 1, patience, 0.0, optimiser, weight_decay, scheduler)
    options = Options(settings, batch, None if rate == "auto" else float(rate), perturbation, align_skips)
    solution = least_squares(inputs, grouped, log.part(0.0, 0.2), head_weights=head_weights, memory_mb=memory_mb)
    begin, solution = _begin(inputs, grouped, log, start, solution, head_weights)
    groupings = grouped.groupings
    classes = inputs.task is not None and inputs.task.name == "classification"
    if not classes and head_target == "distil":
        log.note("gradient: the model has no output of shape (samples, classes); it is merged instead")
    goal = Goal(
        output_weights(inputs, head_weights) if classes else None,
        temperature if classes and head_target == "distil" else None,
    )
    few = int(inputs.held_out.sum()) < _JUDGES
    if mixtures == "auto":
        mixtures = 0 if few else _cheap_mixtures(inputs, effort)
    pool = draw_pool(inputs, mixtures, shift)
    size, budget = min(_CHUNK, batch_size(trace)), memory_mb * 2**20
    plans = [plan] if plan is not None else [finest(count)] if few else candidate_plans(count)
    uses = Counter(
        node
        for p in plans
        for level in merge_levels(trace.levels, p)
        for node in level_nodes(trace, level, goal, align_skips=align_skips)
    )
    nodes = [node for node, _ in uses.most_common()]
    prefix = _prefix_bytes(inputs, len(pool.x), budget)
    merged = Merged(
        inputs, groupings, goal, pool.x, nodes, size=size, budget=budget - prefix,
        progress=log.progress.part(0.2, 0.25),
    )  # fmt: skip
    weights = {
        node: node_weights(inputs, groupings, node, merged.rows(node, pool.train[:1]))
        for node in nodes
        if node != trace.output or goal.head is None
    }
    most = epochs
    if most == "auto":
        most = _FEW_EPOCHS if few else _cheap_epochs(inputs, len(pool.train) / len(pool.samples), effort)
    lesson = Lesson(inputs, goal, pool, merged, weights, size)

    def run(low: float, high: float) -> LevelRun:
        return LevelRun(lesson, log.part(low, high), options, prefix)

    why, tried = "set by hand", dict[str, float]()
    if plan is None:
        plan, why, tried = _choose(run, plans, begin, solution, max(1, most // 10))
    result = run(0.45, 1.0).run(plan, begin, solution, most, 0 if few else max(1, most // 20))
    partition = {"spec": format_plan(plan), "why": why, **({"held_out": tried} if tried else {})}
    log.decide("gradient", {"levels": partition, "steps": result.steps})
    return result.state


def _begin(
    inputs: Inputs, grouped: Grouped, log: RunLog, start: Start, solution: dict[str, Tensor], rule: HeadWeights
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state to start from and the least-squares solution, both in the order of neurons of `grouped`, which a start
    from the first parent changes."""
    trace = inputs.trace
    if start == "least_squares":
        return solution, solution
    if start == "first_parent":
        if keeps_first_width(grouped.groupings):
            grouped.groupings, solution = align_to_first(trace, grouped.groupings, solution)
            return inputs.folded[0] | inputs.kept_tensors, solution
        log.note("gradient: the fused model is not as wide as the first parent; it starts from the average")
    weights = output_weights(inputs, rule).for_merge(trace, log)
    return merge_states(inputs.folded, trace, grouped.groupings, weights) | inputs.kept_tensors, solution


def _choose(
    run: Any, plans: list[Plan], begin: Mapping[str, Tensor], solution: Mapping[str, Tensor], epochs: int
) -> tuple[Plan, str, dict[str, float]]:
    """The plan whose short run leaves the smallest held-out loss at the model's output, why, and all their losses."""
    if len(plans) == 1:
        return plans[0], "the only partition, or too few held-out samples to compare others", {}
    tried: dict[str, float] = {}
    for i, plan in enumerate(plans):
        low = 0.25 + 0.2 * i / len(plans)
        quiet = f"trial {i + 1} of {len(plans)}, levels {format_plan(plan)}"
        trial = run(low, low + 0.2 / len(plans))
        tried[format_plan(plan)] = trial.run(plan, begin, solution, epochs, 0, quiet=quiet).error
    best = min(plans, key=lambda p: tried[format_plan(p)])
    why = f"smallest held-out loss at the output after {epochs} epochs a level: " + ", ".join(
        f"{spec} {error:.4g}" for spec, error in tried.items()
    )
    return best, why, tried


def _prefix_bytes(inputs: Inputs, samples: int, budget: int) -> int:
    """Memory for a level's inputs: two levels' outputs, while one is stepped over; at most half of all."""
    sizes = [math.prod((shape(inputs.trace.capture.node(x.output)) or (1,))[1:]) for x in inputs.trace.levels]
    return min(budget // 2, 2 * 4 * samples * max(sizes))


def _epoch_work(inputs: Inputs) -> float:
    """Work of one pass over the calibration samples that are trained on."""
    samples = len(inputs.data) - int(inputs.held_out.sum())
    return max(1.0, 3.0 * samples * forward_work(inputs.trace))


def _cheap_mixtures(inputs: Inputs, effort: Effort) -> int:
    """Mixtures for every sample that leave enough epochs."""
    return int(min(_MOST_MIXTURES, max(0, EFFORTS[effort] * _WORK / (_LEAST_EPOCHS * _epoch_work(inputs)) - 1)))


def _cheap_epochs(inputs: Inputs, passes: float, effort: Effort) -> int:
    """Epochs within the work allowed; passes: samples and mixtures an epoch shows, for every sample."""
    factor = EFFORTS[effort]
    most = factor * min(_MOST_EPOCHS, _MOST_PASSES / passes)
    return int(max(2, min(most, factor * _WORK / (passes * _epoch_work(inputs)))))
