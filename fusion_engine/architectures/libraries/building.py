"""Building a library's network with care: what a file says of it may be made up."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from ...core.errors import FusionError, UnsafeFileError, UnsupportedModelError, first_line

_MOST_PARTS = 100_000
_MOST_ELEMENTS = 2**34
_MOST_COMPUTED = 2**28


def built(spec: str, make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` gives, in eval mode. UnsupportedModelError with one line on any failure of the library,
    UnsafeFileError for networks larger than any."""
    try:
        with _counted(), _Unfilled():
            module = _made(make)
    except FusionError:
        raise
    except Exception as problem:
        raise UnsupportedModelError(f"--arch {spec}: {first_line(problem)}") from problem
    if not isinstance(module, nn.Module):
        raise UnsupportedModelError(f"--arch {spec}: this is a {type(module).__name__}, not a network")
    return module.eval()


def _made(make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` gives. On 'meta', where constructors that look at numbers do not work, only the weights are."""
    if not torch.empty(0).is_meta:
        return make()
    try:
        return make()
    except (RuntimeError, NotImplementedError):
        with torch.device("cpu"), _WeightsOnMeta():
            return make()


def sketched(spec: str, make: Callable[[], nn.Module]) -> nn.Module:
    """The network without memory: its tensors have shapes alone. UnsafeFileError if what it computes at its start, such
    as tables of positions, would need more than a gigabyte."""
    with torch.device("meta"):
        module = built(spec, make)
    check_extent(spec, module)
    return module


def check_extent(spec: str, module: nn.Module) -> None:
    """Raise UnsafeFileError if a network's tensors, those that no file holds first of all, are larger than any's."""
    kept = set(module.state_dict())
    computed = sum(buffer.numel() for name, buffer in module.named_buffers() if name not in kept)
    if computed > _MOST_COMPUTED or sum(p.numel() for p in module.parameters()) > _MOST_ELEMENTS:
        raise UnsafeFileError(f"--arch {spec}: the network is larger than any that fits here")


class _Unfilled(TorchFunctionMode):
    """Weights are not drawn at random: they are filled from a file, and drawing takes most of the time of building.
    What is computed, such as tables of positions, is."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in _RANDOM and args and isinstance(args[0], nn.Parameter):
            return args[0]
        return function(*args, **(kwargs or {}))


class _WeightsOnMeta(TorchFunctionMode):
    """Layers' weights, which are made by torch.empty, are on 'meta', and all else is as it is."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if function is torch.empty and given.get("device") is None:
            given["device"] = "meta"
        return function(*args, **given)


_RANDOM: Final = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.erfinv_})


@contextmanager
def _counted() -> Iterator[None]:
    """Refuse networks of more parts than any has, while they are being built: a config may name millions of layers."""
    parts, thread = 0, threading.get_ident()

    def count(*_: object) -> None:
        nonlocal parts
        parts += threading.get_ident() == thread
        if parts > _MOST_PARTS:
            raise UnsafeFileError(f"the network has more than {_MOST_PARTS:,} parts")

    hooks = [
        modules.register_module_parameter_registration_hook(count),
        modules.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
