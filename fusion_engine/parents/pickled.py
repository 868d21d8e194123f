"""Read the pickle inside a torch file without running any of it."""

import io
import pickle
import sys
from collections.abc import Callable
from typing import Any, Final

from ..core.errors import ParentError, UnsafeFileError
from ..exported.tensors import StorageRecord, TensorRecord
from .inert import Allowed, Blank, Dictionary, StandIn, refuse, stand_in
from .opcodes import check_opcodes

_TORCH_VALUES: Final = frozenset({
    "float16", "float32", "float64", "bfloat16", "uint8", "int8", "int16", "int32", "int64", "bool", "strided",
    "contiguous_format", "channels_last",
})
_STANDARD_LIBRARY: Final = sys.stdlib_module_names | {"__builtin__", "copy_reg"}


def read_pickle(raw: bytes) -> Any:
    """The object in a torch pickle, made of plain values, Dictionary, StandIn, Blank and TensorRecord.

    Raises UnsafeFileError where it names anything but classes and torch's own rebuilding functions, and ParentError
    where it is damaged; the messages lack the file's name.
    """
    try:
        check_opcodes(raw)
        unpickler = _InertUnpickler(raw)
        value = unpickler.load()
    except (UnsafeFileError, ParentError):
        raise
    except (MemoryError, RecursionError) as problem:
        raise UnsafeFileError("needs more memory to read than is reasonable") from problem
    except Exception as problem:
        # A damaged pickle raises nearly anything; whatever it is, nothing was run.
        raise ParentError("the file is damaged or was not written by torch.save") from problem
    unpickler.check_unused()
    return value


class _InertUnpickler(pickle.Unpickler):
    """Resolves no name: classes become stand-ins, and the few functions torch needs become makers of records."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(io.BytesIO(raw), encoding="utf-8")
        self._stand_ins: dict[str, type[StandIn]] = {}
        self._instantiated: set[type] = set()

    def find_class(self, module: str, name: str) -> Any:
        """The inert object for `module.name`; refuses the standard library."""
        maker = _MAKERS.get((module, name))
        if maker is not None:
            return Allowed(maker)
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return StorageRecord(name, "", 0)
        if module == "torch" and name in _TORCH_VALUES:
            return Blank()
        if module.split(".")[0] in _STANDARD_LIBRARY:
            refuse(f"{module}.{name}")
        full = f"{module}.{name}"
        if full not in self._stand_ins:
            self._stand_ins[full] = stand_in(full, self._instantiated)
        return self._stand_ins[full]

    def persistent_load(self, pid: Any) -> StorageRecord:
        """torch's reference to a storage: ('storage', type, key, device, number of elements)."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise ParentError("the file refers to something other than a storage")
        _, kind, key, _, length = pid
        if not isinstance(kind, StorageRecord) or not isinstance(key, str) or not _is_count(length):
            raise ParentError("the file's storages are damaged")
        return StorageRecord(kind.kind, key, length)

    def check_unused(self) -> None:
        """Refuse names that were mentioned but never used as a class: functions, for all we know."""
        for name, made in self._stand_ins.items():
            # Modules keep references to torch.nn's classes and functions (norm layers, activations).
            if made not in self._instantiated and not name.startswith(("torch.nn.", "torch._C._nn.")):
                refuse(name)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRecord:
    counts = (offset, *size, *stride)
    if not isinstance(storage, StorageRecord) or len(size) != len(stride) or not all(map(_is_count, counts)):
        raise ParentError("a tensor in the file is damaged")
    return TensorRecord(storage, offset, tuple(size), tuple(stride))


def _plain_object(cls: Any, *_: Any) -> StandIn:
    """copyreg._reconstructor: how protocols 0 and 1 build plain objects."""
    if not (isinstance(cls, type) and issubclass(cls, StandIn)):
        raise ParentError("an object in the file is damaged")
    return cls.__new__(cls)


def _set(items: Any = ()) -> frozenset[Any]:
    return frozenset(item for item in items if isinstance(item, str | int))


def _blank(*_: Any) -> Blank:
    return Blank()


_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
_MAKERS: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    # Made empty: its items follow one by one, where `check_opcodes` sees the keys.
    ("collections", "OrderedDict"): lambda: Dictionary(),
    ("__builtin__", "set"): _set,
    ("builtins", "set"): _set,
    ("__builtin__", "object"): _blank,
    ("builtins", "object"): _blank,
    ("copyreg", "_reconstructor"): _plain_object,
    ("copy_reg", "_reconstructor"): _plain_object,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, *_: tensor,
    ("torch", "Size"): tuple,
    ("torch", "device"): _blank,
    ("torch.serialization", "_get_layout"): _blank,
    ("_codecs", "encode"): _blank,
    **{(module, name): _blank for module in _ARRAYS for name in ("_reconstruct", "scalar", "ndarray", "dtype")},
}
