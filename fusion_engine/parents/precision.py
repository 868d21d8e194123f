"""Types of numbers: parents' float tensors become float32, and integers that stand for weights are refused."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..core.errors import ParentError

_SCALES = ("scale", "scales", "scale_inv", "absmax", "zero_point", "zeros", "scb")


def as_float32(tensors: Mapping[str, Tensor], beside: Iterable[str] = ()) -> tuple[dict[str, Tensor], list[str]]:
    """Floating-point tensors as float32, all finite; and a note if that changed anything. beside: names of all that is
    in the file. ParentError for complex numbers, for NaN, and for 8 bits whose scales are kept beside them."""
    converted, changed = {}, set()
    for key, tensor in tensors.items():
        if tensor.is_complex():
            raise ParentError(f"tensor {key!r} holds complex numbers; use float32")
        if tensor.is_floating_point():
            if tensor.dtype != torch.float32:
                changed.add(str(tensor.dtype).removeprefix("torch."))
            _refuse_scaled(key, tensor, beside)
            tensor = tensor.to(torch.float32)
            if not torch.isfinite(tensor).all():
                raise ParentError(f"tensor {key!r} holds NaN or infinite values; the training diverged")
        converted[key] = tensor
    return converted, [f"converted from {kind} to float32" for kind in sorted(changed)]


def refuse_quantised(tensors: Mapping[str, Tensor]) -> None:
    """Raise ParentError in one line that names a tensor of integers or scaled numbers in the place of weights."""
    for name, tensor in tensors.items():
        _refuse_scaled(name, tensor, tensors)
        is_weight = "weight" in name.rpartition(".")[2] and tensor.ndim > 1
        if is_weight and not tensor.is_floating_point() and not tensor.is_complex():
            raise integers(name, tensor.dtype)
    packed = next((name for name in tensors if "_packed_params" in name or name.endswith("zero_point")), None)
    if packed is not None:
        raise ParentError(f"the weights are quantised ({packed!r}); save the float network's state dict")


def integers(name: str, dtype: torch.dtype) -> ParentError:
    """The error for integers where a network has weights."""
    kind = str(dtype).removeprefix("torch.")
    what = f"tensor {name!r} holds {kind} numbers where a network has weights"
    return ParentError(f"{what}: it is quantised; save the float network's state dict")


def _refuse_scaled(name: str, tensor: Tensor, beside: Iterable[str]) -> None:
    if not tensor.is_floating_point() or tensor.dtype.itemsize > 1:
        return
    endings = tuple(f"_{scale}" for scale in _SCALES)
    scale = next((other for other in beside if other.lower().replace(".", "_").endswith(endings)), None)
    if scale is not None:
        raise ParentError(f"tensor {name!r} holds 8-bit numbers to be scaled ({scale!r}); save float weights")
