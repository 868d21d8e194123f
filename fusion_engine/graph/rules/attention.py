"""Fused attention: queries meet keys, the softmax over keys meets values, head by head."""

from ..labels.algebra import Labels
from .registry import Call, label_rule


@label_rule("scaled_dot_product_attention")
def attention(call: Call) -> Labels:
    algebra = call.algebra
    query, key, value = call.require("query"), call.require("key"), call.require("value")
    if call.arguments.get("enable_gqa"):
        repeats = query.shape[-3] // key.shape[-3]
        key = algebra.move(key, lambda t: t.repeat_interleave(repeats, -3))
        value = algebra.move(value, lambda t: t.repeat_interleave(repeats, -3))
    batch = [f"batch{i}" for i in range(len(query.shape) - 2)]
    scores = algebra.contract(
        [(query, [*batch, "query", "in"]), (key, [*batch, "key", "in"])], [*batch, "query", "key"], f"{call.tag}.scores"
    )
    mask = call.labels("attn_mask")
    if mask is not None:
        scores = algebra.elementwise([scores, mask], scores.shape, "add", f"{call.tag}.mask")
    weights = algebra.normalise(scores, [len(batch) + 1])
    return algebra.contract(
        [(weights, [*batch, "query", "key"]), (value, [*batch, "key", "out"])],
        [*batch, "query", "out"],
        f"{call.tag}.values",
    )
