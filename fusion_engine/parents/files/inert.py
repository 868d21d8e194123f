"""Inert stand-ins: what a pickle may make while it is read. None of them runs anything.

Pickles call what they name. The unpickler in `pickled.py` therefore never resolves a name: it hands out these
objects instead. A stand-in class may be instantiated only the ways in which data is pickled: NEWOBJ, or
copyreg._reconstructor, which never call it; and the one call that members of enumerations are pickled as. Any other
call is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, cast

from ...core.errors import UnsafeFileError

# Their classes take plain arguments: versions, sizes, configurations.
_KNOWN: Final = ("torch.", "numpy.", "packaging.")


def refuse(what: str) -> NoReturn:
    """Raise the one error for pickles that want to run code; the reader adds the file's name."""
    raise UnsafeFileError(f"wants to run code ({what}); nothing was run. Save the state dict as safetensors instead")


def is_class_name(name: str) -> bool:
    """Whether a full name ends as classes' names do, with a capital letter; functions' do not."""
    return name.rpartition(".")[2].lstrip("_")[:1].isupper()


class _Uncallable(type):
    """Metaclass of the stand-in classes: the class exists, and calling it is refused, but for members of
    enumerations: a class called with their value, one word or number."""

    pickled_name: str
    instantiated: set[type]

    def __call__(cls, *args: Any, **kwargs: Any) -> Blank:
        if kwargs or len(args) != 1 or type(args[0]) not in (str, int) or not is_class_name(cls.pickled_name):
            refuse(cls.pickled_name)
        cls.instantiated.add(cls)
        return Blank()

    def __setattr__(cls, name: str, value: Any) -> NoReturn:
        refuse(cls.pickled_name)


class StandIn(metaclass=_Uncallable):
    """Base of all stand-in classes. An instance only keeps what pickle gives it: its state, and the items of
    a dictionary's subclass."""

    __slots__ = ("items", "state")
    pickled_name = "object"
    instantiated: set[type]
    items: Dictionary
    state: Any

    def __new__(cls, *args: Any) -> StandIn:
        # Named tuples have plain fields, subclasses of numbers a number. One word alone is how calls are hidden.
        is_word = len(args) == 1 and isinstance(args[0], str) and not cls.pickled_name.startswith(_KNOWN)
        if args and (is_word or not is_class_name(cls.pickled_name) or not all(map(_is_plain, args))):
            refuse(cls.pickled_name)
        made = object.__new__(cls)
        made.state, made.items = None, Dictionary()
        cls.instantiated.add(cls)
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """Members of lists and sets are of no interest to us."""

    add = append


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | Blank | tuple | list | dict)


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
    """Stands for OrderedDict and its like. Attributes set on it (state dicts carry `_metadata`) are dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class Blank:
    """A value of no interest to us: devices, dates, paths, queues and the like. What is put into it is dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Dropped."""

    add = append

    def __call__(self, *args: Any) -> NoReturn:
        refuse("a call of what is no function")


class TypeName(Blank):
    """One of torch's types of numbers, layouts and memory formats, by its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Array(Blank):
    """An array or a number of NumPy."""

    __slots__ = ()
