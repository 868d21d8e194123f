"""Any nn.Module as one static graph of aten operators, with its tensors as inputs of the graph.

torch.export captures the model in eval mode, in its training representation, so that dropout and batch norm
stay switchable. The graph is then cleaned: in-place operators become functional ones, guards and unused nodes go.
"""

import io
import itertools
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from fusion_engine.core.errors import UnsupportedModelError

from .nodes import dimension, module_path, operator
from .samples import Samples, find_samples
from .stacked import unstack

aten = torch.ops.aten


@dataclass(frozen=True)
class Capture:
    """A model's graph. Every tensor of the model is a placeholder node.

    tensors: placeholder name -> state-dict name (of tied tensors the first). constants: placeholder name -> tensor
    that is not in the state dict. inputs, outputs: names of the nodes of the model's own inputs and outputs.
    aliases: state name -> all names of the same tensor. dynamic: whether the batch size is free; otherwise it is
    `batch`, and `samples` says where the samples are (see `find_samples`). decomposed: the graph had to be made
    functional by decomposition and has no training mode. attention_dropout: fused attention node -> its dropout
    probability in training. strands: equal stretches of the batch whose samples belong together one by one.
    """

    graph: fx.Graph
    tensors: dict[str, str]
    constants: dict[str, torch.Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    aliases: dict[str, tuple[str, ...]]
    dynamic: bool
    batch: int
    decomposed: bool
    attention_dropout: dict[str, float]
    samples: Mapping[str, Samples | None]
    strands: int = 1

    @cached_property
    def _nodes(self) -> dict[str, fx.Node]:
        return {node.name: node for node in self.graph.nodes}

    @cached_property
    def parts(self) -> dict[Any, Any]:
        """What was cut out of the graph and compiled, by what was asked for: see `Program`."""
        return {}

    def node(self, name: str) -> fx.Node:
        """The node called `name`; UnsupportedModelError if there is none."""
        if name in self._nodes:
            return self._nodes[name]
        raise UnsupportedModelError(f"the traced graph has no node {name!r}")

    def place(self, name: str) -> Samples | None:
        """Where the samples lie in a node's tensor; None if in no dimension of their own."""
        if not self.dynamic:
            return self.samples.get(name)
        value = self.node(name).meta.get("val")
        batch = str(self.node(self.inputs[0]).meta["val"].shape[0])
        sizes = [str(size) for size in value.shape] if isinstance(value, torch.Tensor) else []
        return Samples(sizes.index(batch)) if batch in sizes else None

    def batch_dim(self, name: str) -> int:
        """The dimension of a node's tensor that runs over samples: 0, but where attention puts tokens first."""
        place = self.place(name)
        return place.dim if place else 0


def capture(model: nn.Module, example_inputs: Sequence[Any]) -> Capture:
    """Capture `model` for inputs like `example_inputs` (first dimension: batch, which stays free where it can).

    Raises UnsupportedModelError if the model is no static graph (data-dependent control flow).
    """
    exported = _export(model, tuple(example_inputs))
    decomposed = not _make_functional(exported.graph)
    if decomposed:
        exported = exported.run_decompositions({})
    unstack(exported.graph)
    return _clean(exported, model, decomposed)


# ---- export


@contextmanager
def eval_mode(*models: nn.Module) -> Iterator[None]:
    """The models in eval mode; every module's own mode restored after."""
    modes = {module: module.training for model in models for module in model.modules()}
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _exportable(model: nn.Module) -> Iterator[None]:
    """Eval mode, no fused transformer kernels (they hide operators), no chatter; everything restored after."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level, fast = log.level, torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    log.setLevel(logging.ERROR)
    try:
        # A failed export prints its graph; the error says what matters.
        with eval_mode(model), redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
        torch.backends.mha.set_fastpath_enabled(fast)


def _export(model: nn.Module, inputs: tuple[Any, ...]) -> torch.export.ExportedProgram:
    """With a free batch size if torch can: where running Python with symbols fixes it (len(x), int(x.shape[0])),
    reading its bytecode (strict) often does not."""
    error: Exception | None = None
    fixed: dict[bool, torch.export.ExportedProgram] = {}  # by whether they are for `inputs` as given
    batches = list(_batches(inputs))
    with _exportable(model):
        for batch, dynamic, strict in [
            *((batch, True, False) for batch in batches),
            *((batch, True, True) for batch in batches),
            (inputs, False, False),
        ]:
            if (strict and not fixed) or (not dynamic and True in fixed):
                continue
            shapes = pytree.tree_map(
                lambda t: {0: torch.export.Dim.AUTO} if isinstance(t, torch.Tensor) and t.dim() else None, batch
            )
            try:
                exported = torch.export.export(model, batch, dynamic_shapes=shapes if dynamic else None, strict=strict)
            except Exception as caught:  # export raises many unrelated classes
                error = error if strict else caught
                continue
            if _is_dynamic(exported):
                return exported
            if not strict:
                fixed[batch is inputs] = exported
        if True in fixed:
            return fixed[True]
    reason = str(error).strip().splitlines()[0][:120] if error and str(error).strip() else "no reason given"
    raise UnsupportedModelError(
        f"{type(model).__name__} cannot be captured as one static graph ({type(error).__name__}: {reason}); replace "
        "data-dependent control flow by torch.where or torch.cond, and check the shape of the example input"
    ) from error


def _batches(inputs: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The inputs with two samples first (cheap; export would specialise a batch of one), then as given."""
    tensors = [t for t in pytree.tree_leaves(inputs) if isinstance(t, torch.Tensor)]
    sizes = {t.shape[0] if t.dim() else None for t in tensors}
    if len(sizes) == 1 and not sizes & {None, 0, 2}:
        yield pytree.tree_map(lambda t: torch.cat([t[:1], t[-1:]]) if isinstance(t, torch.Tensor) else t, inputs)
    yield inputs


def _input_nodes(exported: torch.export.ExportedProgram) -> list[fx.Node]:
    names = {spec.arg.name for spec in exported.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT}
    return [n for n in exported.graph.nodes if n.op == "placeholder" and n.name in names]


def _is_dynamic(exported: torch.export.ExportedProgram) -> bool:
    values = [n.meta.get("val") for n in _input_nodes(exported)]
    tensors = [v for v in values if isinstance(v, torch.Tensor) and v.dim()]
    return bool(tensors) and all(_is_free(t.shape[0]) for t in tensors)


def _is_free(size: Any) -> bool:
    return isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None


# ---- cleaning


def _make_functional(graph: fx.Graph) -> bool:
    """Replace in-place operators by functional ones; False if one writes through a view or to a model tensor."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if not operator(node).endswith("_") or node.target._schema.arguments[0].alias_info is None:
            continue
        written = node.args[0]
        functional = getattr(getattr(aten, operator(node)[:-1], None), node.target._overloadname, None)
        seen_by_view = any(order[u] < order[node] and _may_alias(u) for u in written.users)
        is_tensor_of_model = written.op == "placeholder" and written.name.startswith(("p_", "b_", "c_"))
        if functional is None or is_tensor_of_model or _may_alias(written) or seen_by_view:
            return False
        later = [u for u in written.users if order[u] > order[node]]
        for user in later:
            user.replace_input_with(written, node)
        node.target = functional
    return True


def _may_alias(node: fx.Node) -> bool:
    return node.op == "call_function" and (
        operator(node) in {"reshape", "flatten", "contiguous", "to"}
        or (isinstance(node.target, torch._ops.OpOverload) and node.target.is_view)
    )


def _clean(exported: torch.export.ExportedProgram, model: nn.Module, decomposed: bool) -> Capture:
    """Copy the live part of the graph and sort its placeholders into inputs, state tensors and constants."""
    signature = exported.graph_signature
    result_names = [
        s.arg.name for s in signature.output_specs if s.kind == OutputKind.USER_OUTPUT and hasattr(s.arg, "name")
    ]
    by_name = {node.name: node for node in exported.graph.nodes}
    results = [by_name[name] for name in result_names]
    live, stack = set(_input_nodes(exported)), list(results)
    while stack:
        node = stack.pop()
        if node not in live:
            live.add(node)
            stack.extend(node.all_input_nodes)

    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in exported.graph.nodes:
        if node in live:
            copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.output(tuple(copies[r] for r in results))

    aliases = _aliases(model)
    tensors: dict[str, str] = {}
    constants: dict[str, torch.Tensor] = {}
    persistent = set(model.state_dict(keep_vars=True))
    for spec in signature.input_specs:
        node = copies.get(by_name[spec.arg.name]) if hasattr(spec.arg, "name") and spec.arg.name in by_name else None
        if node is None or spec.kind == InputKind.USER_INPUT:
            continue
        if spec.target in persistent:
            tensors[node.name] = aliases[str(spec.target)][0]
        else:
            value = exported.state_dict.get(spec.target, exported.constants.get(spec.target))
            constants[node.name] = value.detach()
    dynamic, inputs = _is_dynamic(exported), _input_nodes(exported)
    values = [n.meta["val"] for n in inputs if isinstance(n.meta.get("val"), torch.Tensor)]
    batch = next((dimension(v.shape[0]) for v in values if v.dim() and not _is_free(v.shape[0])), 0)
    names = tuple(copies[n].name for n in inputs)
    return Capture(
        graph=graph, tensors=tensors, constants=constants, inputs=names, outputs=tuple(copies[r].name for r in results),
        aliases=aliases, dynamic=dynamic, batch=batch, decomposed=decomposed,
        attention_dropout=_attention_dropout(graph, model),
        samples={} if dynamic or not batch else find_samples(graph, constants, names, batch),
    )  # fmt: skip


def _aliases(model: nn.Module) -> dict[str, tuple[str, ...]]:
    names = defaultdict(list)
    persistent = set(model.state_dict(keep_vars=True))
    tensors = itertools.chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    )
    for name, tensor in tensors:
        if name in persistent:
            names[id(tensor)].append(name)
    return {name: tuple(group) for group in names.values() for name in group}


def _attention_dropout(graph: fx.Graph, model: nn.Module) -> dict[str, float]:
    """Fused attention is captured with dropout 0; the owning module knows the training value."""
    found = {}
    modules = dict(model.named_modules())
    for node in graph.nodes:
        module = modules.get(module_path(node))
        if operator(node) != "scaled_dot_product_attention" or module is None:
            continue
        for attribute in ("dropout", "dropout_p", "attn_drop", "attn_dropout"):
            value = getattr(module, attribute, None)
            value = value.p if isinstance(value, nn.Dropout) else value
            if isinstance(value, float) and value > 0:
                found[node.name] = value
    return found
