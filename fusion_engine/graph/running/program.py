"""Run any part of a captured graph with any state dict: compiled, functional, without copies of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.core.types import State

from ..captured.capture import Capture
from ..captured.nodes import arguments, is_symbolic, operator
from ..structure.trace import Trace, tensor_of
from .batches import InBatches, fits_traced_batch

aten = torch.ops.aten
_TRAINING_FLAG = {"dropout": "train", "feature_dropout": "train", "alpha_dropout": "train", "batch_norm": "training"}


class Program:
    """The part of the graph between `inputs` and `outputs`, as a function of a state and tensors.

    inputs: names of the nodes whose tensors are fed; None feeds the model's own inputs. outputs: names of the
    nodes to return. train=True switches dropout and batch norm to training mode: batch norm then updates
    its running statistics and batch counter in the given state's tensors, as the module would.

    `tensors` are the state names that are read. Raises UnsupportedModelError if an output needs a value from
    outside `inputs`, or training mode is asked of a graph that has none.
    """

    def __init__(
        self, trace: Trace, inputs: Sequence[str] | None, outputs: Sequence[str], *, train: bool = False
    ) -> None:
        self._capture: Capture = trace.capture
        self._fed = self._capture.inputs if inputs is None else tuple(inputs)
        self._outputs = tuple(o for name in outputs for o in (self._capture.outputs if name == "output" else (name,)))
        request = (self._fed, self._outputs, train)
        if request not in self._capture.parts:
            self._capture.parts[request] = _Part(self._capture, *request)
        self._part: _Part = self._capture.parts[request]
        self.tensors: tuple[str, ...] = self._part.tensors
        self._trace, self._request = trace, (inputs, outputs, train)
        self._others: dict[int, Program] = {}  # for states of other widths

    def __call__(self, state: State, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tensors at the output nodes, differentiable in `state` and `tensors`.

        Any batch size works; a model that fixes it is run in batches of that size. Raises ParentError if `state` lacks
        a tensor, UnsupportedModelError if samples do not stay apart in such a model.
        """
        if self._trace.variants and state:
            trace = self._trace.fitting(state)
            if trace is not self._trace:
                return self._at_other_width(trace)(state, *tensors)
        if len(tensors) != len(self._fed):
            raise UnsupportedModelError(
                f"the model takes {len(self._fed)} inputs ({', '.join(self._fed)}) and {len(tensors)} were given"
            )
        weights = [tensor_of(state, name, self._trace) for name in self.tensors]
        lead = tensors[0] if tensors else weights[0]
        floats = [t for t in (*tensors, *weights) if t.is_floating_point()]
        module, constants = self._part.compiled(lead.device, bool(floats) and floats[-1].dtype == torch.float64)
        if fits_traced_batch(self._capture, self._fed, tensors):
            result: tuple[torch.Tensor, ...] = module.forward(*tensors, *weights, *constants)
        elif self._part.counters:
            raise UnsupportedModelError(
                f"the model's forward fixes the batch size to {self._capture.batch} samples, so that its batch norm "
                "cannot be trained on others; use x.shape[0] instead of a number in its views"
            )
        else:
            run = InBatches(self._capture, module, self._fed, self._outputs, tensors)
            result = run.results(*weights, *constants)
        for name in self._part.counters:
            if name in state:
                state[name].add_(1)
        return result

    def _at_other_width(self, trace: Trace) -> Program:
        if id(trace) not in self._others:
            inputs, outputs, train = self._request
            self._others[id(trace)] = Program(trace, inputs, outputs, train=train)
        return self._others[id(trace)]


class _Part:
    """A part of the graph, cut out and compiled: what all programs of the same request share.

    tensors: state names that it reads, in the order in which it takes them. counters: batch counters that training
    raises.
    """

    def __init__(self, capture: Capture, fed: tuple[str, ...], outputs: tuple[str, ...], train: bool) -> None:
        builder = _Builder(capture, fed, train)
        self._graph, placeholders = builder.build(outputs)
        self.tensors = tuple(capture.tensors[p] for p in placeholders if p in capture.tensors)
        self.counters = builder.counters
        self._constants = [capture.constants[p] for p in placeholders if p in capture.constants]
        self._compiled: dict[tuple[torch.device, bool], tuple[fx.GraphModule, list[torch.Tensor]]] = {}

    def compiled(self, device: torch.device, double: bool) -> tuple[fx.GraphModule, list[torch.Tensor]]:
        """The part as a module, and the constants it takes after the tensors; `double`: in float64."""
        key = (device, double)
        if key not in self._compiled:
            graph = _retarget(self._graph, device, double)
            constants = [c.to(device) for c in self._constants]
            if double:
                constants = [c.double() if c.dtype == torch.float32 else c for c in constants]
            self._compiled[key] = (fx.GraphModule(torch.nn.Module(), graph), constants)
        return self._compiled[key]


def _retarget(graph: fx.Graph, device: torch.device, double: bool) -> fx.Graph:
    """Copy of `graph` in which operators that name a device or float32 name this run's device and precision."""

    def swap(value: Any) -> Any:
        if isinstance(value, torch.device):
            return device
        return torch.float64 if double and value is torch.float32 else value

    copy = fx.Graph()
    environment: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        new = copy.node_copy(node, lambda n: environment[n])
        new.args = fx.node.map_aggregate(new.args, swap)
        new.kwargs = fx.node.map_aggregate(new.kwargs, swap)
        environment[node] = new
    return copy


class _Builder:
    """Extracts a sub-graph. Placeholders of the result: fed nodes, then state tensors, then constants."""

    def __init__(self, capture: Capture, fed: tuple[str, ...], train: bool) -> None:
        self.capture, self.train = capture, train
        self.fed = [capture.node(name) for name in fed]
        self.counters: list[str] = []

    def build(self, outputs: tuple[str, ...]) -> tuple[fx.Graph, list[str]]:
        results = [self.capture.node(name) for name in outputs]
        needed = self._needed(results)
        placeholders = [n for n in needed if n.name in self.capture.tensors]
        placeholders += [n for n in needed if n.name in self.capture.constants]
        graph = fx.Graph()
        copies = {node: graph.placeholder(node.name) for node in [*self.fed, *placeholders]}
        for node, copy in copies.items():
            copy.meta = dict(node.meta)
        for node in self.capture.graph.nodes:
            if node in needed and node not in copies:
                source = self._size_source(node)
                if source is not None:
                    copies[node] = graph.call_function(aten.sym_size.int, (copies[source[0]], source[1]))
                else:
                    copies[node] = graph.node_copy(node, lambda n: copies[n])
                    if self.train:
                        self._switch_to_training(copies[node], node)
        graph.output(tuple(copies[r] for r in results))
        return graph, [n.name for n in placeholders]

    def _needed(self, results: list[fx.Node]) -> dict[fx.Node, None]:
        """Nodes between the fed nodes and `results`, in graph order."""
        seen, stack = set(self.fed), [r for r in results if r not in self.fed]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.name in self.capture.inputs:
                raise UnsupportedModelError(
                    f"this part of the model needs input {node.name!r} besides {', '.join(n.name for n in self.fed)}"
                )
            if self._size_source(node) is None:
                stack.extend(node.all_input_nodes)
        return {n: None for n in self.capture.graph.nodes if n in seen}

    def _size_source(self, node: fx.Node) -> tuple[fx.Node, int] | None:
        """A fed node and its dimension whose size this symbolic size equals."""
        size = node.meta.get("val")
        if not is_symbolic(node) or not isinstance(size, torch.SymInt):
            return None
        for fed in self.fed:
            value = fed.meta.get("val")
            if isinstance(value, torch.Tensor):
                for dim, other in enumerate(value.shape):
                    if str(other) == str(size):
                        return fed, dim
        return None

    def _switch_to_training(self, node: fx.Node, original: fx.Node) -> None:
        name = operator(node)
        if name == "_native_batch_norm_legit_no_training":
            raise UnsupportedModelError(
                "the model writes into views of tensors, so its batch norm cannot be trained; "
                "replace in-place writes to slices by torch.cat or torch.where"
            )
        if name in _TRAINING_FLAG:
            _set_argument(node, _TRAINING_FLAG[name], True)
        if original.name in self.capture.attention_dropout:
            _set_argument(node, "dropout_p", self.capture.attention_dropout[original.name])
        if name == "batch_norm":
            mean = arguments(original)["running_mean"]
            if isinstance(mean, fx.Node) and mean.name in self.capture.tensors:
                prefix = self.capture.tensors[mean.name].rpartition("running_mean")[0]
                self.counters.append(prefix + "num_batches_tracked")


def _set_argument(node: fx.Node, name: str, value: Any) -> None:
    position = next(i for i, a in enumerate(node.target._schema.arguments) if a.name == name)  # type: ignore[union-attr]
    if position < len(node.args):
        node.update_arg(position, value)
    else:
        node.update_kwarg(name, value)
