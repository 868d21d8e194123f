"""The operators that a file's program may name: a fixed list of functions of their arguments alone."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch

from ..core.errors import UnsupportedModelError

# Arithmetic on sizes. No powers and no shifts: they make numbers without bound.
_SIZES: Final[dict[str, Callable[..., Any]]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in (
        "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pos", "eq", "ne", "lt", "le", "gt", "ge",
    )},
    **{f"torch.{name}": getattr(torch, name) for name in (
        "sym_max", "sym_min", "sym_not", "sym_int", "sym_float", "sym_ite",
    )},
}
# Functions of their arguments alone. What torch tags as pointwise (activations, arithmetic) is allowed as well.
_OPERATORS: Final = frozenset({
    "sym_size", "sym_numel", "sym_stride", "arange", "full", "full_like", "new_full", "new_ones", "new_zeros",
    "ones", "ones_like", "scalar_tensor", "zeros", "zeros_like", "_fused_rms_norm", "_log_softmax",
    "_native_batch_norm_legit_no_training", "_softmax", "_weight_norm", "batch_norm", "group_norm", "instance_norm",
    "layer_norm", "linalg_vector_norm", "log_softmax", "logsumexp", "native_layer_norm", "norm", "rms_norm",
    "softmax", "addmm", "baddbmm", "bmm", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "convolution", "einsum", "embedding", "gru", "linear", "lstm", "matmul", "mm", "rnn_relu",
    "rnn_tanh", "__and__", "__or__", "__xor__", "bilinear", "dot", "vdot", "embedding_bag", "_embedding_bag",
    "_embedding_bag_forward_only", "mv", "diff", "fill", "gather", "reshape_as", "zero",
    "scaled_dot_product_attention", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d",
    "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices",
    "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d", "upsample_bicubic2d", "upsample_bilinear2d", "upsample_linear1d",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_trilinear3d", "all", "amax", "amin",
    "any", "argsort", "cummax", "cumprod", "cumsum", "max", "mean", "min", "prod", "sort", "std", "sum", "topk",
    "var", "_to_copy", "_unsafe_view", "alias", "cat", "channel_shuffle", "chunk", "clone", "constant_pad_nd",
    "contiguous", "copy", "detach", "diagonal", "expand", "expand_as", "flatten", "flip", "index", "index_select",
    "lift_fresh_copy", "mT", "movedim", "narrow", "numpy_T", "pad", "permute", "pixel_shuffle", "pixel_unshuffle",
    "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "repeat", "repeat_interleave", "replication_pad1d",
    "replication_pad2d", "replication_pad3d", "reshape", "roll", "select", "select_scatter", "slice",
    "slice_scatter", "split", "split_with_sizes", "squeeze", "stack", "swapaxes", "t", "tensor_split", "tile", "to",
    "transpose", "tril", "triu", "type_as", "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as",
    "alpha_dropout", "celu", "dropout", "feature_dropout", "glu", "hardswish", "hardtanh", "leaky_relu", "lerp",
    "log_sigmoid", "masked_fill", "nan_to_num", "positive", "prelu", "relu", "rrelu", "threshold", "where",
})
_TARGET: Final = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)
_SHOWN: Final = re.compile(r"[\w.]{1,80}", re.ASCII)
_MAX_TARGET = 200


def find_operator(target: Any) -> Callable[..., Any]:
    """The function of an operator's name in a file; UnsupportedModelError unless it is on the list.

    In-place forms of what is on the list are there too: who runs them must see that they change no tensor of the
    network. Looking an aten operator up runs nothing.
    """
    if isinstance(target, str) and target in _SIZES:
        return _SIZES[target]
    matched = _TARGET.fullmatch(target) if isinstance(target, str) and len(target) < _MAX_TARGET else None
    if matched is not None:
        name, overload = matched.groups()
        packet = getattr(torch.ops.aten, name, None)
        if isinstance(packet, torch._ops.OpOverloadPacket) and overload in packet.overloads():
            found = getattr(packet, overload)
            in_place = name.endswith("_") and not name.endswith("__")  # __and__ is none
            if name == "detach_":
                return torch.ops.aten.detach.default  # the same values
            base = name[:-1] if in_place else name
            tags = set(found.tags)
            is_pointwise = torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags
            writes = [i for i, a in enumerate(found._schema.arguments) if a.is_write]
            is_listed = (base in _OPERATORS or is_pointwise) and torch.Tag.inplace_view not in tags
            if is_listed and writes == ([0] if in_place else []):
                return found  # type: ignore[no-any-return]
    shown = target if isinstance(target, str) and _SHOWN.fullmatch(target) else "of an odd name"
    raise UnsupportedModelError(
        f"the program uses the operator {shown}, which is not carried out from a file; save the weights alone "
        "(model.state_dict()), or give --arch package.module:callable, which takes only the weights of this file"
    )


def refuse_training(call: Any, name: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """Raise UnsupportedModelError for a call that behaves as in training: random, or changing statistics."""
    if not isinstance(call, torch._ops.OpOverload):
        return
    given = {a.name: value for a, value in zip(call._schema.arguments, arguments, strict=False)} | dict(keywords)
    switches = ["train", "dropout_p"]
    if "running_mean" not in given or given["running_mean"] is not None:
        switches.append("training")  # without running statistics, batch norm always uses the input's
    if given.get("running_mean") is not None:
        switches.append("use_input_stats")  # so does instance norm
    if any(given.get(switch) not in (None, False, 0.0) for switch in switches):
        raise UnsupportedModelError(
            f"the program was exported in training mode ({name.rpartition('aten.')[2]}); call model.eval() and "
            "export it again"
        )
