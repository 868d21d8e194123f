"""Fisher-weighted averaging: every weight is trusted to the parents whose predictions hang on it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..core.progress import Progress
from ..core.registry import Param, register
from ..core.seeds import torch_generator
from ..core.types import Grouping, State
from ..data import IGNORED
from ..fusing import BY_IMPORTANCE, HeadParameter, Inputs, RunLog, batch_size, output_weights, parent_part
from ..graph import Program, lookup, merge_states, with_aliases
from ..grouping import Grouped
from ..tasks import Task

_HELD_BYTES = 16 * 2**20


@register(
    "solver",
    "fisher",
    title="Mean weighted by Fisher information",
    citation="Matena & Raffel 2022",
    needs={"weights", "moments"},
    uses={"importance": {"head_weights": BY_IMPORTANCE}},
    scope="network",
    keeps_norms=True,
    aligned_only=True,
)
def fisher(
    inputs: Inputs,
    grouped: Grouped,
    log: RunLog,
    *,
    draws: Annotated[
        int,
        Param("classes drawn from each sample's prediction; where there are no more than this, all are used", ge=1),
    ] = 10,
    floor: Annotated[
        float,
        Param("how much the plain average counts at every weight, as a part of the mean information", ge=0, le=1),
    ] = 1e-6,
    head_weights: HeadParameter = "importance",
) -> dict[str, Tensor]:
    """Every weight is the mean of the parents' aligned weights, each in proportion to its Fisher information.

    w = sum_p c_p F_p w_p / sum_p c_p F_p, where F_p is the diagonal of parent p's Fisher information
    (`fisher_information`) in the fused network's neurons (`information_part`), 0 where p has no neuron in a group, and
    c_p is p's `head_weights` at the output, by class, and equal elsewhere. The average of solver `average` joins with
    the weight floor * (mean of sum_p c_p F_p over all weights), and stands alone where nobody has information.

    Norms are not folded: F belongs to the parameters that were trained, and the fused network's norms live on. In eval
    mode a norm is a fixed linear map, so F sees what it does to the weights before it. Buffers are averaged. A model
    that does not return logits has no Fisher information: it is averaged, and a note says so. Returns the fused state.
    """
    trace = inputs.trace
    at_output = output_weights(inputs, head_weights).for_merge(trace, log)
    fused = merge_states(inputs.states, trace, grouped.groupings, at_output)
    if inputs.task is None:
        log.note("nothing tells what the outputs are for, so there is no Fisher information: the model is averaged")
        return fused
    # A tensor of several names (tied weights) is made once, under its first, and written under all.
    names = list(dict.fromkeys(trace.aliases.get(name, (name,))[0] for name in trace.parameters))
    sums = {name: torch.zeros_like(lookup(fused, name, trace), dtype=torch.float64) for name in names}
    shares = {name: torch.zeros_like(total) for name, total in sums.items()}
    means = []
    for (p, state), progress in log.progress.each(list(enumerate(inputs.states)), lambda item: f"parent {item[0] + 1}"):
        part = {space: parent_part(grouping, p) for space, grouping in grouped.groupings.items()}
        aligned = merge_states([state], trace, part)
        own = fisher_information(inputs, state, names, draws, progress)
        head = None if at_output is None else [at_output[p] * inputs.count]
        moved = merge_states([own], trace, {s: information_part(g) for s, g in part.items()}, head, information=True)
        for name in names:
            sums[name] += moved[name] * lookup(aligned, name, trace)
            shares[name] += moved[name]
        means.append(_mean(own))
    log.decide("fisher", {"mean information by parent": [float(f"{mean:.4g}") for mean in means]})
    least = floor * _mean(shares)
    made = {}
    for name in names:
        mean = lookup(fused, name, trace)
        share = shares[name] + least
        made[name] = torch.where(share > 0, (sums[name] + least * mean) / share, mean.double()).to(mean)
    return {**fused, **with_aliases(made, fused, trace)}


def information_part(part: Grouping) -> Grouping:
    """What brings a parent's F into the fused network's neurons, where `part` brings its weights there.

    A fused weight stands for the parent's weights w_ji = sum_ab U_ja W_ab M_bi (copied to all the neurons of a group
    that make them, shared among those that are read), so by the chain rule dW_ab = sum_ji U_ja M_bi dw_ji and, as F is
    a diagonal, F_ab = sum_ji U_ja^2 M_bi^2 F_ji: the squares of the other matrix on each side. n neurons of a group
    that are made alike know n times as much of their common weight; of a sum of n weights one knows an n-th. A
    permutation moves F as it moves the weights, and no neurons have no information.
    """
    merge, unmerge = part.merge[0], part.unmerge[0]
    return replace(part, merge=(unmerge.T**2,), unmerge=(merge.T**2,), labels=None)


def fisher_information(
    inputs: Inputs, state: State, names: list[str], draws: int, progress: Progress
) -> dict[str, Tensor]:
    """Diagonal of a parent's Fisher information, of the shape of each tensor in `names`, float64:

    F = mean over samples x of E_{y ~ p(y|x)} (d log p(y|x) / d w)^2, in eval mode. The expectation is exact for up to
    `draws` classes. Beyond, it is estimated by `draws` classes that are drawn systematically from p(y|x), with a stream
    that hangs on the sample and not on its place. Where every position has a class, y is drawn for all that count at
    once; predicted values have the normal distribution of variance 1 about them. The gradients that are held at once
    take about 16 MiB, or are one, however many samples there are.
    """
    trace, task = inputs.trace, inputs.task
    assert task is not None  # the caller looked
    predict = Program(trace, None, [trace.output])
    leaves = {name: lookup(state, name, trace) for name in names}
    totals = {name: torch.zeros_like(leaf, dtype=torch.float64) for name, leaf in leaves.items()}
    at_once = max(1, _HELD_BYTES // max(1, sum(leaf.nbytes for leaf in leaves.values())))

    def log_p(leaves: Mapping[str, Tensor], x: Tensor, c: Tensor) -> Tensor:
        logits = task.logits(predict({**state, **with_aliases(leaves, state, trace)}, x[None])[0])[0]
        if not task.has_classes:
            return logits[c]
        if logits.dim() == 1:
            return logits.log_softmax(0).gather(0, c[None])[0]
        picked = logits.log_softmax(-1).gather(-1, c.clamp_min(0)[..., None])[..., 0]
        return (picked * (c != IGNORED)).sum()

    # One forward pass for each sample and class: a single level of vmap, which every operator takes.
    each_gradient = vmap(grad(log_p), (None, 0, 0))
    done = 0
    for batch in inputs.batches(batch_size(trace)):
        with torch.no_grad():
            logits = task.logits(predict(state, batch)[0]).double()
        rows, classes, weights = _drawn(task, logits, batch, draws, inputs.seed)
        for start, _ in progress.part(done / len(inputs.data), (done + len(batch)) / len(inputs.data)).each(
            range(0, len(rows), at_once), lambda start: "Fisher information"
        ):
            row, c = rows[start : start + at_once], classes[start : start + at_once]
            # The plain attention kernel is the one that vmap can batch.
            with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
                gradients = each_gradient(leaves, batch[row], c)
            weight = weights[start : start + at_once].to(batch.device)
            for name, gradient in gradients.items():
                squares = gradient.square().flatten(1)  # not in place: terms of one sum share their gradient
                totals[name] += (weight.to(squares) @ squares).reshape(gradient.shape[1:])
        done += len(batch)
    return {name: total / done for name, total in totals.items()}


def _drawn(task: Task, logits: Tensor, batch: Tensor, draws: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Samples (pairs,), what is drawn for them (pairs, ...), and how much each pair counts in the expectation.

    logits: (n, ..., classes) float64 of the batch.
    """
    device = batch.device
    if not task.has_classes:
        trust = torch.ones_like(logits)
    elif logits.dim() == 2:
        p = logits.softmax(1).cpu()
        trust = torch.stack([_class_weights(one, x, draws, seed) for one, x in zip(p, batch, strict=True)])
    else:
        p, seen = logits.softmax(-1).cpu(), task.seen(batch)
        drawn = torch.stack([_positions(one, x, draws, seed) for one, x in zip(p, batch, strict=True)], 1).to(device)
        if seen is not None:
            drawn = drawn.masked_fill(~seen, IGNORED)
        rows = torch.arange(len(batch), device=device).repeat(draws)
        return rows, drawn.flatten(0, 1), torch.full((len(rows),), 1 / draws, dtype=torch.float64)
    pairs = trust.nonzero()
    return pairs[:, 0].to(device), pairs[:, 1].to(device), trust[pairs[:, 0], pairs[:, 1]]


def _positions(p: Tensor, x: Tensor, draws: int, seed: int) -> Tensor:
    """(draws, ...) classes of all positions of a sample, from p (..., classes)."""
    generator = torch_generator(seed, "fisher", x.cpu().numpy().tobytes().hex())
    drawn = torch.multinomial(p.flatten(0, -2), draws, replacement=True, generator=generator)
    return drawn.T.reshape(draws, *p.shape[:-1])


def _class_weights(p: Tensor, x: Tensor, draws: int, seed: int) -> Tensor:
    """(classes,) how much each class counts in the expectation over p: p itself, or the share of the draws it gets."""
    if len(p) <= draws:
        return p
    generator = torch_generator(seed, "fisher", x.cpu().numpy().tobytes().hex())
    at = (torch.arange(draws) + torch.rand(1, generator=generator, dtype=torch.float64)) / draws
    drawn = torch.searchsorted(p.cumsum(0), at).clamp_max(len(p) - 1)
    return torch.bincount(drawn, minlength=len(p)).double() / draws


def _mean(tensors: Mapping[str, Tensor]) -> float:
    """Over all entries of all tensors."""
    return sum(float(t.sum()) for t in tensors.values()) / max(1, sum(t.numel() for t in tensors.values()))
