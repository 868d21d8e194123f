"""Inert stand-ins: what a pickle may make while it is read. None of them runs anything.

Pickles call what they name. The unpickler in `pickled.py` therefore never resolves a name: it hands out these
objects instead. A stand-in class may be instantiated only the way pickle builds plain objects (NEWOBJ, or
copyreg._reconstructor), which never calls it; calling one, or an object built with arguments, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, cast

from ..core.errors import UnsafeFileError


def refuse(what: str) -> NoReturn:
    """Raise the one error for pickles that want to run code; the reader adds the file's name."""
    raise UnsafeFileError(f"wants to run code ({what}); nothing was run. Save the state dict as safetensors instead")


class _Uncallable(type):
    """Metaclass of the stand-in classes: the class exists, and calling it is refused."""

    pickled_name: str

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        refuse(cls.pickled_name)

    def __setattr__(cls, name: str, value: Any) -> NoReturn:
        refuse(cls.pickled_name)


class StandIn(metaclass=_Uncallable):
    """Base of all stand-in classes. An instance only keeps the state that pickle gives it."""

    __slots__ = ("state",)
    pickled_name = "object"
    instantiated: set[type]
    state: Any

    def __new__(cls, *args: Any) -> StandIn:
        if args:
            refuse(cls.pickled_name)
        made = object.__new__(cls)
        made.state = None
        cls.instantiated.add(cls)
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


def stand_in(name: str, instantiated: set[type]) -> type[StandIn]:
    """A new stand-in class for the class `name`; it adds itself to `instantiated` with its first instance."""
    members = {"__slots__": (), "pickled_name": name, "instantiated": instantiated}
    return cast(type[StandIn], type.__new__(_Uncallable, "StandIn", (StandIn,), members))


class Allowed:
    """A function that pickles may call: one of this module's makers of inert records, never the real thing."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        refuse("changing a built-in object")


class Dictionary(dict[Any, Any]):
    """Stands for OrderedDict. Attributes set on it (state dicts carry `_metadata`) are dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class Blank:
    """A value of no interest to us: devices, types, NumPy arrays and the like."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass
