"""What every importance method shares: targets, batches, and the sum of attributions to one score a neuron.

Convention: an attribution is computed for every sample and every entry of a neuron (position of a channel);
its absolute value is summed over the entries and averaged over the samples. Scores are at least 1e-8.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ..core.errors import DataError, UnsupportedModelError
from ..core.progress import Progress
from ..core.types import Site, State
from ..data import Dataset
from ..graph import Program, Trace, shape
from ..stats import feature_sites, fitting_batch

OUTPUT = "output"
_EPSILON = 1e-8

Attributor = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""(x, targets) -> {space or 'output': sums over the batch, (n,) float64}"""


def attribute(
    trace: Trace, state: State, data: Dataset, progress: Progress, attributor: Attributor, *, copies: int = 1
) -> dict[str, Tensor]:
    """Run `attributor` over all batches and return mean scores by space name and 'output'.

    `copies` is how many times each sample's activations are held at once. Targets are the true classes or,
    without labels, the model's own predictions. Runs on the state's device. Raises DataError if a label
    is no class of the model, UnsupportedModelError for inputs that have no derivative (tokens).
    """
    if not data.x.is_floating_point() and data.x.dtype != torch.uint8:
        raise UnsupportedModelError("attributions need real-valued inputs, not tokens; use importance 'activation'")
    predict = Program(trace, None, [trace.output])
    n_classes = classes(trace)

    def with_targets(x: Tensor, y: Tensor | None) -> Mapping[str, Tensor]:
        if y is None:
            with torch.no_grad():
                targets = predict(state, x)[0].argmax(1)
        else:
            targets = y.to(x.device)
            if int(targets.max()) >= n_classes:
                raise DataError(f"a label is {int(targets.max())}, but the model has {n_classes} classes, from 0")
        with torch.enable_grad():  # whoever fuses may be inside no_grad
            return attributor(x, targets)

    return mean_scores(trace, state, data, progress, with_targets, copies=copies)


def mean_scores(
    trace: Trace,
    state: State,
    data: Dataset,
    progress: Progress,
    sums: Callable[[Tensor, Tensor | None], Mapping[str, Tensor]],
    *,
    copies: int = 1,
) -> dict[str, Tensor]:
    """Mean over all samples of what `sums` (x, labels or None) adds up for a batch, at least 1e-8."""
    device = next(iter(state.values())).device
    totals: dict[str, Tensor] = {}
    done = 0
    for x, y in data.batches(fitting_batch(trace, copies=copies)):
        progress.report(done / len(data), _message(y))
        for name, value in sums(x.to(device), y).items():
            totals[name] = totals[name] + value.cpu() if name in totals else value.cpu()
        done += len(x)
    return {name: (value / done).clamp_min(_EPSILON) for name, value in totals.items()}


def _message(labels: Tensor | None) -> str:
    return "scoring neurons" if labels is not None else "scoring neurons for the predicted classes (no labels)"


def has_classes(trace: Trace) -> bool:
    """Whether the model returns one tensor of logits (samples, classes)."""
    size = shape(trace.capture.node(trace.output)) if trace.output in trace.capture.outputs else None
    return size is not None and len(size) == 2


def classes(trace: Trace) -> int:
    """Number of classes; UnsupportedModelError unless the model returns logits (samples, classes)."""
    if not has_classes(trace):
        raise UnsupportedModelError(
            "attributions need a model with one output of shape (samples, classes); use importance 'activation'"
        )
    return int((shape(trace.capture.node(trace.output)) or (0, 0))[1])


def site_nodes(trace: Trace) -> tuple[list[tuple[str, Site]], list[str]]:
    """(space, feature site) pairs, and the node names to ask a Program for: theirs, then the output."""
    sites = [(name, site) for name, places in feature_sites(trace).items() for site in places]
    return sites, [*(site.node for _, site in sites), trace.output]


def summed(sites: Sequence[tuple[str, Site]], attributions: Iterable[Tensor]) -> dict[str, Tensor]:
    """Scores by space: `site_scores` of the attributions at its sites, added up."""
    found: dict[str, Tensor] = {}
    for (name, site), attribution in zip(sites, attributions, strict=True):
        score = site_scores(attribution, site)
        found[name] = found[name] + score if name in found else score
    return found


def site_scores(attribution: Tensor, site: Site) -> Tensor:
    """(n,) float64: absolute attributions at a site, summed over samples and each neuron's entries."""
    # Summed before the neurons are picked: the index then touches one number an entry, not one a sample.
    k = len(site.dims)
    front = attribution.abs().movedim(site.dims, tuple(range(k)))
    flat = front.sum(tuple(range(k, front.ndim)), dtype=torch.float64).reshape(-1)
    return flat[torch.as_tensor(site.index, device=flat.device)].reshape(len(site.index), -1).sum(1)


def of_target(values: Tensor, targets: Tensor) -> Tensor:
    """(classes,) float64: |values| (samples, classes) summed over the samples of each target class."""
    picked = values.gather(1, targets[:, None])[:, 0].abs().double()
    return torch.zeros(values.shape[1], dtype=torch.float64, device=values.device).index_add_(0, targets, picked)


def target_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """(samples,) logit of each sample's target."""
    return logits.gather(1, targets[:, None])[:, 0]


def gradients(total: Tensor, features: list[Tensor]) -> tuple[Tensor, ...]:
    """Derivatives of `total` by each feature tensor; there may be none."""
    if features and not total.requires_grad:
        raise UnsupportedModelError(
            "attributions need inputs that the outputs have derivatives by, not numbers of tokens; use importance "
            "'activation'"
        )
    return torch.autograd.grad(total, features, materialize_grads=True) if features else ()
