"""What every importance method shares: targets, batches, and the sum of attributions to one score a neuron.

Convention: an attribution is computed for every sample and every entry of a neuron (position of a channel);
its absolute value is summed over the entries and averaged over the samples. Scores are at least 1e-8.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from ..core.errors import DataError, UnsupportedModelError
from ..core.progress import Progress
from ..core.types import Site, State
from ..data import IGNORED, Dataset
from ..graph import Program, Trace, dependents, output_shape
from ..stats import counted_at, feature_sites, fitting_batch
from ..tasks import Task, find_task

OUTPUT = "output"
_EPSILON = 1e-8


@dataclass(frozen=True)
class Targets:
    """What is attributed of a batch's outputs: the logits of its targets, at every position that counts.

    wanted: (n, ...) int64 classes, IGNORED where none counts; None for values, which all count.
    """

    task: Task
    wanted: Tensor | None

    def logits(self, outputs: Tensor, copies: int = 1) -> Tensor:
        """(copies * n, ...) logit of each target, 0 where none counts. outputs: of the batch, `copies` times."""
        logits = self.task.logits(outputs)
        if self.wanted is None:
            return logits
        wanted = self.wanted.repeat(copies, *[1] * (self.wanted.dim() - 1))
        counts = wanted != IGNORED
        picked = logits.gather(-1, wanted.clamp_min(0)[..., None])[..., 0]
        return picked if bool(counts.all()) else picked * counts

    def of_outputs(self, outputs: Tensor) -> Tensor:
        """(outputs,) float64: |logits| summed over the positions of each target class, by the model's output."""
        logits = self.task.logits(outputs)
        if self.wanted is None:
            return logits.abs().sum(0, dtype=torch.float64)
        kept = self.wanted.flatten() != IGNORED
        return self.task.channels(of_target(logits.flatten(0, -2)[kept], self.wanted.flatten()[kept]))


class Front:
    """Where attributions begin: the samples, or of tokens their embeddings, as token numbers have no derivative.

    Raises UnsupportedModelError for tokens that no embedding reads.
    """

    def __init__(self, trace: Trace, data: Dataset) -> None:
        self._trace = trace
        self.nodes: tuple[str, ...] | None = _embeddings(trace) if data.tokens else None
        self._read = None if self.nodes is None else Program(trace, None, self.nodes)

    def program(self, outputs: Sequence[str], trace: Trace | None = None) -> Program:
        """A program that takes `start` and then `rest`. trace: with other operators in its place."""
        fed = None if self.nodes is None else [*self.nodes, *self._trace.inputs]
        return Program(trace or self._trace, fed, outputs)

    def start(self, state: State, x: Tensor) -> tuple[Tensor, ...]:
        """The real-valued tensors that a batch begins with."""
        if self._read is None:
            return (x,)
        with torch.no_grad():
            return self._read(state, x)

    def rest(self, x: Tensor, copies: int = 1) -> tuple[Tensor, ...]:
        """What a program takes besides."""
        return () if self._read is None else (x.repeat(copies, *[1] * (x.dim() - 1)),)


def _embeddings(trace: Trace) -> tuple[str, ...]:
    """Nodes that look up rows of a weight by what the inputs say: the first real numbers of a network of tokens."""
    graph = trace.capture
    of_inputs = dependents(graph.graph, set(trace.inputs))
    found: list[str] = []
    behind: set[str] = set()
    for node in graph.graph.nodes:
        value = node.meta.get("val")
        if node.name not in of_inputs or not isinstance(value, Tensor):
            continue
        if any(source.name in behind for source in node.all_input_nodes):
            behind.add(node.name)
        elif value.is_floating_point() and any(_is_weight(trace, source) for source in node.all_input_nodes):
            found.append(node.name)
            behind.add(node.name)
    if not found:
        raise UnsupportedModelError(
            "no embedding reads the tokens, so there are no attributions; use importance 'activation'"
        )
    return tuple(found)


def _is_weight(trace: Trace, node: fx.Node) -> bool:
    value = node.meta.get("val")
    return node.name in trace.capture.tensors and isinstance(value, Tensor) and value.is_floating_point()


Attributor = Callable[[Tensor, Targets], Mapping[str, Tensor]]
"""(x, targets) -> {space or 'output': sums over the batch, (n,) float64}"""


def attribute(
    trace: Trace, state: State, data: Dataset, progress: Progress, attributor: Attributor, *, copies: int = 1
) -> dict[str, Tensor]:
    """Run `attributor` over all batches and return mean scores by space name and 'output'.

    `copies` is how many times each sample's activations are held at once. Targets are the true classes or,
    without labels, the model's own predictions; of values all are. Runs on the state's device. Raises DataError if a
    label is no class of the model, UnsupportedModelError where nothing tells what the outputs are for.
    """
    predict = Program(trace, None, [trace.output])
    task = task_for(trace, data)

    def with_targets(x: Tensor, y: Tensor | None) -> Mapping[str, Tensor]:
        if not task.has_classes:
            return attributor(x, Targets(task, None))
        wanted = task.labels(x, None if y is None else y.to(x.device))
        if wanted is None:
            with torch.no_grad():
                wanted = task.logits(predict(state, x)[0]).argmax(-1)
        elif int(wanted.max()) >= task.classes:
            raise DataError(f"a label is {int(wanted.max())}, but the model has {task.classes} classes, from 0")
        seen = task.seen(x)
        return attributor(x, Targets(task, wanted if seen is None else wanted.masked_fill(~seen, IGNORED)))

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


def task_for(trace: Trace, data: Dataset) -> Task:
    """What the model's outputs are for; UnsupportedModelError where nothing tells."""
    task = find_task(data, output_shape(trace))
    if task is None:
        raise UnsupportedModelError(
            "attributions need a model with one output, such as logits (samples, classes), and labels that fit other "
            "outputs, or the task by name (--task); use importance 'activation'"
        )
    return task


def own_outputs(trace: Trace, data: Dataset) -> int | None:
    """How many outputs a position has that scores are given to; None where nothing tells."""
    task = find_task(data, output_shape(trace))
    return None if task is None else len(task.channels(torch.zeros(task.classes)))


def site_nodes(trace: Trace) -> tuple[list[tuple[str, Site]], list[str]]:
    """(space, feature site) pairs, and the node names to ask a Program for: theirs, then the output."""
    sites = [(name, site) for name, places in feature_sites(trace).items() for site in places]
    return sites, [*(site.node for _, site in sites), trace.output]


def summed(
    trace: Trace, sites: Sequence[tuple[str, Site]], attributions: Iterable[Tensor], counted: Tensor | None = None
) -> dict[str, Tensor]:
    """Scores by space: `site_scores` of the attributions at its sites, added up. counted: the batch's (n, T) mask of
    positions; the others have no say."""
    found: dict[str, Tensor] = {}
    for (name, site), attribution in zip(sites, attributions, strict=True):
        mask = counted_at(trace, site.node, counted, attribution.shape, site.dims)
        if mask is not None:
            attribution = attribution * mask
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


def gradients(total: Tensor, features: list[Tensor]) -> tuple[Tensor, ...]:
    """Derivatives of `total` by each feature tensor; there may be none."""
    return torch.autograd.grad(total, features, materialize_grads=True) if features else ()
