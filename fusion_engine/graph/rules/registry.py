"""The registry of label rules: what an operator does to the labels of its inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from ..captured.nodes import operator, shape, shapes
from ..labels.algebra import Algebra, Labels


class NoRuleError(Exception):
    """Raised by a rule that cannot label this use of its operator; the message says why."""


@dataclass(frozen=True)
class Call:
    """One call of an operator: what a rule may look at.

    labels_of: node -> its Labels (a list for several results, None for numbers). value_of: an argument with
    sizes and constant tensors in place of nodes; raises NoRuleError for data that depends on the inputs.
    """

    node: fx.Node
    algebra: Algebra
    labels_of: Callable[[fx.Node], Any]
    value_of: Callable[[Any], Any]
    arguments: dict[str, Any]

    @property
    def operator(self) -> str:
        """Name of the operator, without 'aten::'."""
        return operator(self.node)

    @property
    def tag(self) -> str:
        """Unique name of the call, for pinning entries to positions."""
        return self.node.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the (first) result."""
        single = shape(self.node)
        if single is not None:
            return single
        return next(s for s in shapes(self.node) or [()] if s is not None)

    def labels(self, name: str) -> Labels | None:
        """Labels of the tensor argument `name`; None if it is absent or no tensor."""
        found = self._labels(self.arguments.get(name))
        return found if isinstance(found, Labels) else None

    def require(self, *names: str) -> Labels:
        """Labels of the first of these arguments that is a tensor."""
        for name in names:
            found = self.labels(name)
            if found is not None:
                return found
        raise NoRuleError(f"argument {' or '.join(map(repr, names))} is no tensor")

    def list_of_labels(self, name: str) -> list[Labels]:
        """Labels of an argument that is a list of tensors."""
        return [x for x in map(self._labels, self.arguments[name]) if isinstance(x, Labels)]

    def tensors(self) -> list[Labels]:
        """Labels of all tensor arguments."""
        found = map(self.labels_of, self.node.all_input_nodes)
        return [x for x in found if isinstance(x, Labels)]

    def value(self, name: str) -> Any:
        """The argument `name` with concrete sizes."""
        return self.value_of(self.arguments[name])

    def results(self, layers: Sequence[Any]) -> Labels | list[Labels | None]:
        """All results of the call with the same layers."""
        single = shape(self.node)
        if single is not None:
            return Labels(single, list(layers))
        return [Labels(s, list(layers)) if s is not None else None for s in shapes(self.node) or []]

    def _labels(self, value: Any) -> Any:
        return self.labels_of(value) if isinstance(value, fx.Node) else None


Rule = Callable[[Call], "Labels | list[Labels | None]"]
_RULES: dict[str, Rule] = {}


def label_rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators ('linear' for aten::linear, 'mylib::scan' for others).

    A rule gets a Call and returns the Labels of the result (a list for several results). For example, an operator
    that acts on every entry alone:

        @label_rule("mylib::squash")
        def squash(call):
            return call.algebra.elementwise(call.tensors(), call.shape, "nonlinear", call.tag)
    """

    def decorate(rule: Rule) -> Rule:
        for name in operators:
            _RULES[name] = rule
        return rule

    return decorate


def find_rule(node: fx.Node) -> Rule | None:
    """The rule of the node's operator; operators that torch marks as pointwise share one."""
    rule = _RULES.get(operator(node))
    if rule is None and isinstance(node.target, torch._ops.OpOverload) and torch.Tag.pointwise in node.target.tags:
        rule = _RULES["pointwise"]
    return rule
