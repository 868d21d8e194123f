"""Label a captured graph: walk it once, giving every tensor of the model atoms and every node its labels."""

import operator as python_operator
from typing import Any

import torch
from torch import fx

from fusion_engine.core.errors import UnsupportedModelError

from ..captured.capture import Capture
from ..captured.nodes import arguments, dependents, dimension, is_symbolic, module_path, operator, shape, shapes
from ..labels.algebra import Algebra, Labels
from ..labels.atoms import Array
from ..rules import Call, NoRuleError, find_rule
from .layers import CONVOLUTIONS

_CREATION = frozenset(
    f"{prefix}{name}{suffix}"
    for name in ("zeros", "ones", "full", "empty")
    for prefix, suffix in (("", ""), ("", "_like"), ("new_", ""))
) | {"scalar_tensor"}
_RECURRENT = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu"])


class Labeler:
    """Labels of a graph.

    slots: state name -> one layer of atoms for every labelled dimension of the tensor. labels: node -> Labels.
    activations: names of nodes that depend on the inputs. Raises UnsupportedModelError for an operator without rule.
    """

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.algebra = Algebra()
        self.slots: dict[str, list[Array]] = {}
        self.labels: dict[fx.Node, Any] = {}
        self.warnings: list[str] = []
        self.activations = dependents(capture.graph, capture.inputs)
        self._leaves: dict[str, Labels] = {}
        self._constants: dict[fx.Node, Any] = {}
        for node in capture.graph.nodes:
            if node.op == "call_function":
                self.labels[node] = self._label(node)
        for name in capture.outputs:
            result = self._labels_of(capture.node(name))
            if isinstance(result, Labels):
                self.algebra.freeze(result, "output")

    # ---- leaves

    def _labels_of(self, node: fx.Node) -> Any:
        if node not in self.labels and node.op == "placeholder":
            self.labels[node] = self._leaf(node)
        return self.labels.get(node)

    def _leaf(self, node: fx.Node) -> Labels | None:
        """Inputs and constants have no labels; a tensor of the model gets fresh atoms the first time it is used."""
        size = shape(node)
        if size is None:
            return None
        name = self.capture.tensors.get(node.name)
        if name is None or not node.meta["val"].is_floating_point():
            return Labels(size)
        if name not in self._leaves:
            self.slots[name] = self._fresh_slots(node, size)
            self._leaves[name] = Labels(size, self.slots[name])
        return self._leaves[name]

    def _fresh_slots(self, node: fx.Node, size: tuple[int, ...]) -> list[Array]:
        atoms, rank = self.algebra.atoms, len(size)
        convolution = next(
            (u for u in node.users if operator(u) in CONVOLUTIONS and arguments(u)["weight"] is node), None
        )
        groups = arguments(convolution).get("groups", 1) if convolution is not None else 1
        slots = []
        for d in range(2 if convolution is not None else rank):
            if size[d] == 1:
                continue
            if groups > 1 and d == 1:
                # The second dimension counts inside a group, so its atoms live on both dimensions.
                local = atoms.fresh((groups, 1, size[1])).repeat(size[0] // groups, axis=1)
                slots.append(local.reshape(size[:2] + (1,) * (rank - 2)))
            else:
                slots.append(atoms.fresh(size[d] if i == d else 1 for i in range(rank)))
        return slots

    # ---- nodes

    def _label(self, node: fx.Node) -> Any:
        if node.target is python_operator.getitem:
            several, index = self.labels.get(node.args[0]), node.args[1]  # type: ignore[arg-type]
            return several[index] if isinstance(several, list) and isinstance(index, int) else several
        if is_symbolic(node):
            return None
        if not isinstance(node.target, torch._ops.OpOverload):
            raise UnsupportedModelError(self._message(node, "it is no aten operator"))
        size, name = shape(node), operator(node)
        inputs = [x for x in map(self._labels_of, node.all_input_nodes) if isinstance(x, Labels)]
        if name in _CREATION and size is not None:
            return Labels(size, [], (1,) * len(size))
        if not any(x.layers for x in inputs):
            return self._unlabelled(node, size, inputs)
        rule = find_rule(node)
        if rule is None:
            raise UnsupportedModelError(self._message(node, "it has no label rule"))
        try:
            found = rule(Call(node, self.algebra, self._labels_of, self._value_of, arguments(node)))
        except NoRuleError as reason:
            raise UnsupportedModelError(self._message(node, str(reason))) from reason
        except (RuntimeError, ValueError, IndexError, TypeError, KeyError, NotImplementedError) as error:
            detail = (str(error).splitlines() or [""])[0][:80]
            why = f"its label rule failed ({type(error).__name__}: {detail})"
            raise UnsupportedModelError(self._message(node, why)) from error
        free = [self._unpinned(x) for x in found] if isinstance(found, list) else self._unpinned(found)
        if name in _RECURRENT:
            where = module_path(node) or "the model itself"
            grouped = isinstance(free, list) and any(x is not None and x.layers for x in free)
            how = "grouped with their gates, whose weights are averaged" if grouped else "not grouped, only averaged"
            line = f"hidden units of the recurrent layer {where!r} are {how}; no solver solves for them"
            self.warnings += [line] if line not in self.warnings else []
        return free

    def _unlabelled(self, node: fx.Node, size: tuple[int, ...] | None, inputs: list[Labels]) -> Any:
        if size is None:
            return [Labels(s) if s is not None else None for s in shapes(node) or []]
        if operator(node) in {"expand", "expand_as"}:
            source = inputs[0]
            return Labels(size, [], (1,) * (len(size) - len(source.shape)) + source.varies)
        return Labels(size)

    def _unpinned(self, labels: Labels | None) -> Labels | None:
        """Without layers whose entries are all pinned: they are positions."""
        if labels is None:
            return None
        free = [x for x in labels.layers if not self.algebra.atoms.pinned(x)]
        return Labels(labels.shape, free, labels.varies)

    @staticmethod
    def _message(node: fx.Node, why: str) -> str:
        where = f"module {module_path(node)!r}" if module_path(node) else "the model itself"
        return (
            f"operator {operator(node) or str(node.target)!r} in {where} "
            f"cannot be followed: {why}; replace it, or register a rule with "
            f"@fusion_engine.graph.label_rule({operator(node)!r})"
        )

    # ---- values of arguments

    def _value_of(self, value: Any) -> Any:
        """Sizes as integers, constant tensors as they are; NoRuleError for data that depends on the inputs."""
        return fx.node.map_aggregate(
            fx.node.map_arg(value, self._value), lambda x: dimension(x) if isinstance(x, torch.SymInt) else x
        )

    def _value(self, node: fx.Node) -> Any:
        if is_symbolic(node):
            found = node.meta["val"]
            return dimension(found) if isinstance(found, torch.SymInt | int) else found
        if node.name in self.activations or node.name in self.capture.tensors:
            raise NoRuleError("an index or a size depends on the data")
        if node not in self._constants:
            if node.op == "placeholder":
                self._constants[node] = self.capture.constants[node.name]
            else:
                args = fx.node.map_arg(node.args, self._value)
                kwargs = fx.node.map_arg(node.kwargs, self._value)
                self._constants[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        return self._constants[node]
