"""REPAIR: give every fused neuron the mean and the spread that the parents' neurons in its group have."""

from collections import Counter
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..core.registry import register
from ..core.types import Grouping, Layer, State
from ..fusing import Inputs, RunLog, batch_size, per_channel, read_layer, write_layer
from ..graph import Program, Trace, merge_outputs
from .channels import ChannelMoments, channel_rows, channels_in_turn

_DEAD = 1e-5
Change = Callable[[ChannelMoments, Tensor, Tensor], tuple[Tensor, Tensor]]


@register("post", "repair", title="REPAIR", citation="Jordan et al. 2023", needs={"moments"}, scope="network")
def repair(inputs: Inputs, groupings: Mapping[str, Grouping], state: State, log: RunLog) -> dict[str, Tensor]:
    """Rescales every fused neuron to the average mean and standard deviation of the parents' neurons in its group.

    Jordan et al. 2023, for groups of any kind: y -> (y - mu) s'/s + mu', y the output of a layer after its batch norm,
    mu' and s' averaged with the weights of the group, over the calibration samples and positions. Layer after layer,
    the layers before it repaired. Written into the batch norm's weight and bias, else into the layer's (a batch norm
    that lacks one of them is folded into its layer); a layer that has neither norm nor bias gets the scale alone.

    Averaging makes neurons vary too little, and this is its remedy. Least squares gives the spread that leaves the
    smallest error and has residual branches correct their stream, so more spread mostly makes its models worse.

    The output layer, layers with weights that serve elsewhere too, and neurons that hardly vary (here or in the
    parents) stay as they are. Returns a new state. Labels are not used.
    """
    return restored(inputs, groupings, state, log, "repair", _change, "so its neurons get their spread back alone")


def restored(
    inputs: Inputs,
    groupings: Mapping[str, Grouping],
    state: State,
    log: RunLog,
    step: str,
    change: Change,
    unbiased: str | None,
) -> dict[str, Tensor]:
    """A new state in which every fused neuron's output y is scale * y + shift, layer after layer, the layers before it
    changed. change: from a layer's moments now, and the mean and spread (n,) it should have, to scale and shift.
    unbiased: what the notes say of a layer without a bias, which gets the scale alone; None: nothing is said."""
    trace = inputs.trace
    layers = [layer for layer in trace.layers.values() if _is_repairable(trace, layer, log, step, unbiased)]
    if not layers:
        return dict(state)
    with torch.no_grad():
        changed, wanted = dict(state), _targets(inputs, groupings, layers, log, step)
        by_weight = {layer.weight: layer for layer in layers}
        places = {layer.weight: (layer.output, 1 if layer.kind == "conv" else -1) for layer in layers}
        for weight, own in channels_in_turn(inputs, changed, places, log, step, begin=0.5):
            layer = by_weight[weight]
            scale, shift = change(own, *wanted[layer.name])
            _apply(changed, layer, scale, shift if layer.has_bias else torch.zeros_like(shift))
    return changed


def _is_repairable(trace: Trace, layer: Layer, log: RunLog, step: str, unbiased: str | None) -> bool:
    """Whether the layer's outputs are neurons of a space, with weights of its own; the notes say what is left out."""
    if layer.space is None or layer.output == trace.output:
        return False
    if _is_shared(trace, layer):
        log.note(f"{step}: layer {layer.name} stays as it is: its weights are used elsewhere too")
        return False
    if not layer.has_bias and unbiased is not None:
        log.note(f"{step}: layer {layer.name} has no bias, {unbiased}")
    return True


def _is_shared(trace: Trace, layer: Layer) -> bool:
    capture = trace.capture
    uses = Counter(
        capture.tensors[node.name] for node in capture.graph.nodes if node.name in capture.tensors for _ in node.users
    )
    norm = layer.norm
    names = [layer.weight, layer.bias]
    names += [] if norm is None else [norm.weight, norm.bias, norm.running_mean]
    return any(uses[name] > 1 or len(trace.aliases.get(name, ())) > 1 for name in names if name is not None)


def _targets(
    inputs: Inputs, groupings: Mapping[str, Grouping], layers: list[Layer], log: RunLog, step: str
) -> dict[str, tuple[Tensor, Tensor]]:
    """By layer the (n,) mean and standard deviation its fused neurons should have."""
    program = Program(inputs.trace, None, [layer.output for layer in layers])
    size = batch_size(inputs.trace)
    merges = {
        layer.name: [m.to(inputs.device) for m in merge_outputs(inputs.states, inputs.trace, groupings, layer)]
        for layer in layers
    }
    # Of a sum with negative weights the spread does not follow from its parts': it is taken from the sum itself.
    mixed = {name for name, merge in merges.items() if any(bool((m < 0).any()) for m in merge)}
    means: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    spreads: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    for p, state in enumerate(inputs.states):
        moments = {layer.name: ChannelMoments() for layer in layers}
        seen = 0
        for x in inputs.batches(size):
            for layer, y in zip(layers, program(state, x), strict=True):
                rows = channel_rows(inputs, layer.output, y, 1 if layer.kind == "conv" else -1, seen)
                if layer.name in mixed:
                    rows = rows @ merges[layer.name][p].T.to(rows)
                moments[layer.name].add(rows)
            seen += len(x)
            done = 0.5 * (p + seen / len(inputs.data)) / inputs.count
            log.progress.report(done, f"{step}: features of parent {p + 1}")
        for name, found in moments.items():
            means[name].append(found.mean)
            spreads[name].append(found.variance.sqrt())
    targets = {}
    for layer in layers:
        merge = merges[layer.name]
        if layer.name in mixed:
            targets[layer.name] = (sum(means[layer.name], torch.zeros(())), sum(spreads[layer.name], torch.zeros(())))
            continue
        mean = sum((m @ x for m, x in zip(merge, means[layer.name], strict=True)), torch.zeros(()))
        spread = sum((m.abs() @ x for m, x in zip(merge, spreads[layer.name], strict=True)), torch.zeros(()))
        targets[layer.name] = (mean, spread)
    return targets


def _change(own: ChannelMoments, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift (n,) that give every neuron this mean and this spread; 1 and 0 for the dead."""
    scale, alive = spread_ratio(own, mean, spread)
    return scale, torch.where(alive, mean - scale * own.mean, torch.zeros_like(mean))


def spread_ratio(own: ChannelMoments, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) what a neuron's spread lacks of the wanted one, as a factor, 1 for the dead; and (n,) which are alive: they
    vary now, and should."""
    now = own.variance.sqrt()
    alive = _varies(own.mean, now) & _varies(mean, spread)
    return torch.where(alive, spread / now, torch.ones_like(now)), alive


def _varies(mean: Tensor, spread: Tensor) -> Tensor:
    """Whether neurons vary by more than rounding, beside their own mean and beside the layer's liveliest neuron."""
    return spread > _DEAD * (mean.abs() + spread.max())


def _apply(state: dict[str, Tensor], layer: Layer, scale: Tensor, shift: Tensor) -> None:
    """Make the layer (with its batch norm) give scale * y + shift in place of y; the old tensors stay as they are."""
    norm = layer.norm
    if norm is not None and norm.weight is not None and norm.bias is not None:
        _put(state, norm.weight, state[norm.weight].double() * scale)
        _put(state, norm.bias, state[norm.bias].double() * scale + shift)
        return
    weight, bias = read_layer(state, layer)
    bias = None if bias is None else bias * scale + shift
    write_layer(state, layer, weight * per_channel(scale, layer, weight), bias)


def _put(state: dict[str, Tensor], name: str, value: Tensor) -> None:
    state[name] = value.to(state[name])
