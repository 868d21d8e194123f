"""Contractions: linear layers, matrix products, Einstein sums, embeddings."""

from ..labels.algebra import Labels
from ..labels.atoms import live_dims
from .registry import Call, NoRuleError, label_rule

_MAX = 2  # mode of embedding_bag


@label_rule("linear")
def linear(call: Call) -> Labels:
    batch = [f"batch{i}" for i in range(len(call.shape) - 1)]
    operands = [(call.require("input"), [*batch, "in"]), (call.require("weight"), ["out", "in"])]
    result = call.algebra.contract(operands, [*batch, "out"], call.tag)
    return call.algebra.affine(result, None, call.labels("bias"), call.tag)


@label_rule("matmul", "mm", "bmm", "mv", "dot", "vdot")
def product(call: Call) -> Labels:
    return _product(call, call.require("self"), call.require("mat2", "other", "vec", "tensor"))


@label_rule("addmm", "baddbmm")
def product_and_sum(call: Call) -> Labels:
    result = _product(call, call.require("mat1", "batch1"), call.require("mat2", "batch2"))
    return call.algebra.elementwise([result, call.require("self")], call.shape, "add", call.tag)


def _product(call: Call, left: Labels, right: Labels) -> Labels:
    def batch(labels: Labels) -> list[str]:
        return [f"batch{i}" for i in range(len(labels.shape) - 2, 0, -1)]

    row = ["row"] if len(left.shape) > 1 else []  # vectors have none
    column = ["column"] if len(right.shape) > 1 else []
    operands = [(left, [*batch(left), *row, "sum"]), (right, [*batch(right), "sum", *column])]
    output = [*max(batch(left), batch(right), key=len), *row, *column]
    return call.algebra.contract(operands, output, call.tag)


@label_rule("einsum")
def einsum(call: Call) -> Labels:
    equation = call.arguments["equation"].replace(" ", "")
    left, arrow, output = equation.partition("->")
    names = left.split(",")
    if not arrow or "." in equation or len(names) > 2 or any(len(set(n)) < len(n) for n in names):
        raise NoRuleError(
            f"einsum '{equation}' has no rule; name every dimension once, with '->', two operands at most"
        )
    operands = list(zip(call.list_of_labels("tensors"), map(list, names), strict=True))
    return call.algebra.contract(operands, list(output), call.tag)


@label_rule("embedding")
def embedding(call: Call) -> Labels:
    weight = call.require("weight")
    call.algebra.freeze(weight, call.tag, [0])  # rows are looked up by number
    lead = (1,) * (len(call.shape) - 1)
    return Labels(call.shape, [x.reshape(lead + x.shape[1:]) for x in weight.layers if live_dims(x) == {1}])


@label_rule("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(call: Call) -> list[Labels | None]:
    """Rows looked up by number and added up; the other results are of rows."""
    weight = call.require("weight")
    call.algebra.freeze(weight, call.tag, [0])
    if call.arguments["mode"] == _MAX:
        call.algebra.restrict(weight)
    bags = Labels(call.shape, [x.reshape(1, -1) for x in weight.layers if live_dims(x) == {1}])
    return [bags, *[None] * (len(call.node.meta["val"]) - 1)]


@label_rule("bilinear")
def bilinear(call: Call) -> Labels:
    """x^T W_o y + b_o."""
    first, second = call.require("input1"), call.require("input2")
    batch = [f"batch{i}" for i in range(len(first.shape) - 1)]
    operands = [(first, [*batch, "a"]), (call.require("weight"), ["out", "a", "b"]), (second, [*batch, "b"])]
    result = call.algebra.contract(operands, [*batch, "out"], call.tag)
    return call.algebra.affine(result, None, call.labels("bias"), call.tag)
