"""Parameters of methods: read from a function's signature, and values checked against them."""

import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from .errors import RecipeError

OTHERS = "others"  # in a value by space: what the spaces take that are not named

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Param:
    """Documentation and bounds of one parameter, put in its annotation with `Annotated`. usual: where good values lie,
    for a search; without it a search takes the bounds, or what is near the default."""

    help: str
    ge: float | None = None
    le: float | None = None
    label: str | None = None
    expert: bool = False
    usual: tuple[float, float] | None = None


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter, as read from a signature."""

    name: str
    type: Literal["int", "float", "bool", "str"]
    default: Any
    help: str
    label: str
    optional: bool = False
    ge: float | None = None
    le: float | None = None
    choices: tuple[Any, ...] | None = None
    words: tuple[str, ...] = ()
    expert: bool = False
    by_space: bool = False
    usual: tuple[float, float] | None = None

    def check(self, value: Any, where: str) -> Any:
        """Return `value` coerced to the parameter's type; raise RecipeError naming the knob otherwise.

        Values by space get an entry OTHERS, the default, if they have none.
        """
        if self.by_space and isinstance(value, Mapping):
            one = replace(self, by_space=False)
            return {OTHERS: self.default} | {str(s): one.check(v, f"{where}.{s}") for s, v in value.items()}
        if isinstance(value, Mapping):
            raise RecipeError(f"{where}: it takes one value, the same for all spaces")
        if value is None and self.optional:
            return None
        if isinstance(value, str) and value in self.words:
            return value
        if self.choices is not None:
            if value in self.choices and type(value) in {type(c) for c in self.choices}:
                return value
            raise RecipeError(f"{where}: {value!r} is not one of {', '.join(map(str, self.choices))}")
        given, value = value, _number(value) if self.type == "float" else value
        allowed: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "bool": (bool,), "str": (str,)}
        ok = isinstance(value, allowed[self.type]) and (self.type == "bool" or not isinstance(value, bool))
        if not ok or (self.type == "float" and value != value):
            words = f" or one of {', '.join(self.words)}" if self.words else ""
            raise RecipeError(f"{where}: {given!r} is not of type {self.type}{words}")
        if self.ge is not None and value < self.ge:
            raise RecipeError(f"{where}: {value!r} is too small; the smallest allowed value is {self.ge:g}")
        if self.le is not None and value > self.le:
            raise RecipeError(f"{where}: {value!r} is too large; the largest allowed value is {self.le:g}")
        return float(value) if self.type == "float" else value


def _number(value: Any) -> Any:
    """The finite number that a text writes out, as YAML 1.1 takes 1e-3 for text; anything else as it is."""
    if isinstance(value, str) and _NUMBER.fullmatch(value) and math.isfinite(float(value)):
        return float(value)
    return value


def takes_progress(function: Callable[..., Any]) -> bool:
    """Whether the function has a keyword-only `progress: Progress`, which is handed in and is no parameter."""
    return any(_is_progress(p) for p in inspect.signature(function).parameters.values())


def _is_progress(parameter: inspect.Parameter) -> bool:
    # The annotation is text where the module postpones them, and may then be imported for checking alone.
    named = getattr(parameter.annotation, "__name__", parameter.annotation)
    return parameter.kind is parameter.KEYWORD_ONLY and (parameter.name, named) == ("progress", "Progress")


def read_parameters(function: Callable[..., Any]) -> tuple[ParameterSpec, ...]:
    """A function's keyword-only parameters; TypeError for one without `Annotated[..., Param(...)]` or a default."""
    declared = inspect.signature(function).parameters.values()
    keyword_only = [p for p in declared if p.kind is p.KEYWORD_ONLY and not _is_progress(p)]
    # Only these are evaluated: the other annotations may name types that are imported for checking alone.
    annotated = types.SimpleNamespace(__annotations__={p.name: p.annotation for p in keyword_only})
    hints = typing.get_type_hints(annotated, function.__globals__, include_extras=True)
    specs = []
    for parameter in keyword_only:
        hint = hints.get(parameter.name)
        if get_origin(hint) is not Annotated or parameter.default is inspect.Parameter.empty:
            raise TypeError(
                f"{function.__module__}.{function.__name__}: parameter {parameter.name!r} needs "
                "Annotated[type, Param(help)] and a default"
            )
        base, *extras = get_args(hint)
        param = next(e for e in extras if isinstance(e, Param))
        specs.append(_specify(parameter.name, base, parameter.default, param))
    return tuple(specs)


def _specify(name: str, base: Any, default: Any, param: Param) -> ParameterSpec:
    """Read int | float | bool | str, Literal choices, `| None`, words such as `float | Literal['auto']`, and values by
    space such as `float | Mapping[str, float]`."""
    arms = list(get_args(base)) if get_origin(base) in (Union, types.UnionType) else [base]
    optional = type(None) in arms
    arms = [a for a in arms if a is not type(None)]
    literals = tuple(v for a in arms if get_origin(a) is Literal for v in get_args(a))
    plain = [a for a in arms if get_origin(a) is None]
    if plain:
        kind, choices, words = plain[0].__name__, None, tuple(str(v) for v in literals)
    else:
        kind, choices, words = type(literals[0]).__name__, literals, ()
    label = param.label or name.replace("_", " ").capitalize()
    return ParameterSpec(
        name, kind, default, param.help, label, optional, param.ge, param.le, choices, words, param.expert,
        by_space=any(get_origin(a) is Mapping for a in arms), usual=param.usual,
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """'; did you mean X?' or the list of what there is: the tail of every message about an unknown name."""
    known = list(known)
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known) or 'none'}"
