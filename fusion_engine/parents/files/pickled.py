"""Read the pickle inside a torch file without running any of it."""

import builtins
import io
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from ...core.errors import ParentError, UnsafeFileError
from ...exported.tensors import OddTensor, StorageRecord, TensorRecord
from .inert import Allowed, Array, Blank, Dictionary, StandIn, TypeName, is_class_name, refuse, stand_in
from .opcodes import check_opcodes

_NAMED: Final = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
_TORCH_VALUES: Final = frozenset(name for name, value in vars(torch).items() if isinstance(value, _NAMED))
_STANDARD_LIBRARY: Final = sys.stdlib_module_names | {"__builtin__", "copy_reg"}
_PURE: Final = "torch._C._VariableFunctionsClass"  # whose attributes are torch's functions of tensors
# Functions and classes that may be named without being used: modules and settings keep references to them.
_MENTIONED: Final = ("torch.nn.", "torch._C._nn.", "torch.optim.", "torch.functional.", "numpy.", _PURE)


def read_pickle(raw: bytes, storages: dict[str, StorageRecord] | None = None) -> Any:
    """The object in a torch pickle, made of plain values, Dictionary, StandIn, Blank, TensorRecord and OddTensor.

    Raises UnsafeFileError where it names anything but classes and torch's own rebuilding functions, and ParentError
    where it is damaged; the messages lack the file's name. storages: gets all that it refers to, by key.
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
    if storages is not None:
        storages.update(unpickler.storages)
    return value


class _InertUnpickler(pickle.Unpickler):
    """Resolves no name: classes become stand-ins, and the few functions torch needs become makers of records."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(io.BytesIO(raw), encoding="utf-8")
        self._stand_ins: dict[str, type[StandIn]] = {}
        self._instantiated: set[type] = set()
        self.storages: dict[str, StorageRecord] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The inert object for `module.name`; of the standard library only what holds data."""
        maker = _MAKERS.get((module, name))
        if maker is not None:
            return Allowed(maker)
        if (module, name) in _GETATTR:
            return Allowed(self._attribute)
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return StorageRecord(name, "", 0)
        if module == "torch" and name in _TORCH_VALUES:
            return TypeName(name)
        if module.startswith("numpy.random") and name.lstrip("_").endswith(("_ctor", "unpickle_SeedSequence")):
            return Allowed(_blank)
        if module in ("builtins", "__builtin__", "exceptions") and _is_exception(name):
            return Allowed(_blank)
        if module == "typing":
            return Blank()
        if module.split(".")[0] in _STANDARD_LIBRARY and (module, name) not in _PLAIN_CLASSES:
            refuse(f"{module}.{name}")
        return self._stand_in(f"{module}.{name}")

    def _stand_in(self, full: str) -> type[StandIn]:
        if full not in self._stand_ins:
            self._stand_ins[full] = stand_in(full, self._instantiated)
        return self._stand_ins[full]

    def _attribute(self, owner: Any, name: Any, *_: Any) -> type[StandIn]:
        """getattr: how members of enumerations, methods and torch's own functions are pickled. Of data it is none."""
        kind = owner if isinstance(owner, type) else type(owner)
        if not issubclass(kind, StandIn) or not isinstance(name, str):
            refuse("builtins.getattr")
        self._instantiated.add(kind)
        made = self._stand_in(f"torch.{name}" if kind.pickled_name == _PURE else f"{kind.pickled_name}.{name}")
        self._instantiated.add(made)
        return made

    def persistent_load(self, pid: Any) -> StorageRecord | type[StandIn]:
        """torch's reference to a storage: ('storage', type, key, device, number of elements); in old files also to a
        class of modules: ('module', class, file, source)."""
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module" and isinstance(pid[1], type):
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise ParentError("the file refers to something other than a storage")
        _, kind, key, _, length = pid[:5]
        if not isinstance(kind, StorageRecord) or not isinstance(key, str) or not _is_count(length):
            raise ParentError("the file's storages are damaged")
        self.storages[key] = StorageRecord(kind.kind, key, length)
        return self.storages[key]

    def check_unused(self) -> None:
        """Refuse names that were mentioned but never used as a class: functions, for all we know."""
        for name, made in self._stand_ins.items():
            if made not in self._instantiated and not name.startswith(_MENTIONED) and not is_class_name(name):
                refuse(name)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRecord:
    counts = (offset, *size, *stride)
    if not isinstance(storage, StorageRecord) or len(size) != len(stride) or not all(map(_is_count, counts)):
        raise ParentError("a tensor in the file is damaged")
    return TensorRecord(storage, offset, tuple(size), tuple(stride))


def _typed(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> TensorRecord | OddTensor:
    """torch._utils._rebuild_tensor_v3: a tensor over untyped bytes, whose type is given beside them."""
    dtype = rest[2] if len(rest) > 2 else None
    if not isinstance(storage, StorageRecord) or not isinstance(dtype, TypeName):
        raise ParentError("a tensor in the file is damaged")
    width = getattr(torch, dtype.name).itemsize
    return _tensor(StorageRecord(dtype.name, storage.key, storage.length // width), offset, size, stride)


def _odd(what: str) -> Callable[..., OddTensor]:
    return lambda *_: OddTensor(what)


def _subclass(*arguments: Any) -> Any:
    """torch._tensor._rebuild_from_type_v2: a tensor of a subclass, made by one of the makers here."""
    make, _, inner = arguments[:3]
    return make(*inner) if isinstance(make, Allowed) and isinstance(inner, tuple) else OddTensor("of an own class")


def _plain_object(cls: Any, *_: Any) -> StandIn:
    """copyreg._reconstructor: how protocols 0 and 1 build plain objects."""
    if not (isinstance(cls, type) and issubclass(cls, StandIn)):
        refuse("copyreg._reconstructor")
    return cls.__new__(cls)


def _is_exception(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, Exception)


def _set(items: Any = ()) -> frozenset[Any]:
    return frozenset(item for item in items if isinstance(item, str | int))


def _dictionary(*parts: Any) -> Dictionary:
    """OrderedDict, defaultdict and Counter. Made empty, or from a dictionary, whose keys `check_opcodes` has seen."""
    if parts and isinstance(parts[0], list | tuple):
        raise ParentError("a dictionary in the file is damaged")
    return Dictionary(parts[0]) if parts and isinstance(parts[0], Mapping) else Dictionary()


def _blank(*_: Any) -> Blank:
    return Blank()


def _array(*_: Any) -> Array:
    return Array()


_GETATTR: Final = frozenset({("builtins", "getattr"), ("__builtin__", "getattr")})
_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
# Constructors of the standard library that only hold data, and are named as types; what they make is dropped.
_DATA: Final = {
    "builtins": ("bool", "bytearray", "bytes", "complex", "dict", "Ellipsis", "float", "int", "list", "NotImplemented",
                 "object", "range", "slice", "str", "tuple", "type"),
    "__builtin__": ("bool", "bytearray", "bytes", "complex", "dict", "Ellipsis", "float", "int", "list", "long",
                    "NotImplemented", "object", "range", "slice", "str", "tuple", "type", "unicode", "xrange"),
    "_codecs": ("encode",),
    "collections": ("deque", "UserList", "UserString"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "_decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "functools": ("partial",),
    "operator": ("getitem",),
    **{module: tuple(f"{kind}{name}" for kind in ("", "Pure") for name in ("Path", "PosixPath", "WindowsPath"))
       for module in ("pathlib", "pathlib._local")},
    "re": ("_compile",),
    # How errors are written where Dask has been at work.
    "tblib.pickling_support": ("unpickle_exception", "unpickle_exception_with_attrs", "unpickle_traceback"),
    "time": ("struct_time",),
    "types": ("SimpleNamespace",),
    "uuid": ("SafeUUID",),
    "zoneinfo": ("ZoneInfo._unpickle",),
}  # fmt: skip
# Classes of the standard library whose objects are plain: made empty, then given their state.
_PLAIN_CLASSES: Final = frozenset({
    ("argparse", "Namespace"), ("collections", "ChainMap"), ("collections", "UserDict"), ("uuid", "UUID"),
    ("zoneinfo", "ZoneInfo"),
})
_MAKERS: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    **{(module, name): _blank for module, names in _DATA.items() for name in names},
    **{("collections", name): _dictionary for name in ("OrderedDict", "defaultdict", "Counter")},
    **{(module, name): _set for module in ("__builtin__", "builtins") for name in ("frozenset", "set")},
    ("copyreg", "_reconstructor"): _plain_object,
    ("copy_reg", "_reconstructor"): _plain_object,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, *_: tensor,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    ("torch._utils", "_rebuild_sparse_tensor"): _odd("sparse"),
    ("torch._utils", "_rebuild_sparse_csr_tensor"): _odd("sparse"),
    ("torch._utils", "_rebuild_qtensor"): _odd("quantised"),
    ("torch._utils", "_rebuild_nested_tensor"): _odd("nested"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _odd("without numbers (device meta)"),
    ("torch._utils", "_rebuild_wrapper_subclass"): _odd("of an own class"),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _odd("of another device"),
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _odd("of another device"),
    ("torch.nn.parameter", "UninitializedParameter"): _odd("not initialised"),
    ("torch.nn.parameter", "UninitializedBuffer"): _odd("not initialised"),
    ("torch", "Size"): tuple,
    ("torch", "device"): _blank,
    ("torch", "Generator"): _blank,
    ("torch._C", "Generator"): _blank,
    ("torch.serialization", "_get_layout"): _blank,
    **{(module, name): _array for module in _ARRAYS for name in ("_reconstruct", "scalar", "ndarray", "dtype")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array for core in ("core", "_core")},
}
