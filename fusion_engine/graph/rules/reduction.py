"""Reductions, pooling, resizing, and operations in which order matters along one dimension."""

from ..labels.algebra import Labels
from ..labels.atoms import live_dims
from .registry import Call, label_rule


@label_rule(
    "mean", "sum", "amax", "amin", "var", "std", "norm", "linalg_vector_norm", "logsumexp", "max", "min", "any", "all",
    "prod",
)  # fmt: skip
def reduce(call: Call) -> Labels | list[Labels | None]:
    labels = call.tensors()[0]
    if len(call.tensors()) > 1:  # max(x, y)
        return call.algebra.elementwise(call.tensors(), call.shape, "nonlinear", call.tag)
    rank, dims = len(labels.shape), call.arguments.get("dim")
    if dims is None or dims == []:
        dims = list(range(rank))
    over = {d % rank for d in (dims if isinstance(dims, list | tuple) else [dims])}
    layers = []
    for layer in labels.layers:
        if live_dims(layer) & over or call.operator not in {"mean", "sum"}:
            call.algebra.atoms.restrict(layer)
        blocks = call.algebra.atoms.block_labels(layer, over)
        if blocks is not None:
            kept = [size for d, size in enumerate(blocks.shape) if d not in over]
            layers.append(blocks if call.arguments.get("keepdim") else blocks.reshape(kept))
    return call.results(layers)


@label_rule(
    *(f"{kind}_pool{d}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp") for d in (1, 2, 3)),
    *(f"max_pool{d}d_with_indices" for d in (1, 2, 3)), *(f"_adaptive_avg_pool{d}d" for d in (2, 3)),
    *(f"{kind}_pad{d}d" for kind in ("reflection", "replication") for d in (1, 2, 3)),
    *(f"{lead}upsample_{kind}" for lead in ("", "_") for kind in (
        "nearest1d", "nearest2d", "nearest3d", "nearest_exact1d", "nearest_exact2d", "nearest_exact3d",
        "linear1d", "bilinear2d", "bicubic2d", "trilinear3d", "bilinear2d_aa", "bicubic2d_aa")),
)  # fmt: skip
def resize(call: Call) -> Labels | list[Labels | None]:
    """Channels pass; positions are fixed."""
    labels = call.tensors()[0]
    name = call.operator
    spatial = next(d for d in (1, 2, 3) if f"{d}d" in name)
    kept = []
    for layer in labels.layers:
        if "max" in name:
            call.algebra.atoms.restrict(layer)
        if any(d >= len(labels.shape) - spatial for d in live_dims(layer)):
            call.algebra.freeze_layer(layer, call.tag)
        else:
            kept.append(layer)
    return call.results(kept)


@label_rule("cumsum", "cumprod", "cummax", "sort", "topk", "argsort", "diff")
def ordered(call: Call) -> Labels | list[Labels | None]:
    """Order matters along `dim`; along other dimensions entries stay apart."""
    labels = call.tensors()[0]
    dim = call.arguments["dim"] % len(labels.shape)
    call.algebra.freeze(labels, call.tag, [dim])
    call.algebra.restrict(labels)
    return call.results([x for x in labels.layers if dim not in live_dims(x)])
