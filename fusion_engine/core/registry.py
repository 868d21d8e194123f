"""Registry of methods. A method is one function; its signature is its schema.

The recipe's validation, the app's forms, the command line's help and the table in the docs are all derived
from the keyword-only parameters of the registered function:

    @register("grouping", "kmeans", title="k-means", citation="...", needs={"moments", "importance"})
    def kmeans(stats, *, tries: Annotated[int, Param("restarts; the best is kept", ge=1, le=50)] = 5): ...
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from .errors import RecipeError

__all__ = [
    "KINDS", "OTHERS", "MethodSpec", "Param", "ParameterSpec", "catalogue", "check_parameters", "get", "names",
    "nearest", "register",
]  # fmt: skip

Kind = Literal["importance", "grouping", "solver", "post"]
Need = Literal["weights", "moments", "labels", "importance", "gradients", "class_counts", "base"]
Scope = Literal["space", "level", "network"]
Widths = Literal["any", "kept", "equal"]
KINDS: tuple[str, ...] = get_args(Kind)
OTHERS = "others"  # in a value by space: what the spaces take that are not named

# The packages whose import registers the methods of each kind (imported on first use, never by core itself).
_PACKAGES: dict[str, str] = {
    "importance": "fusion_engine.importance",
    "grouping": "fusion_engine.grouping",
    "solver": "fusion_engine.solvers",
    "post": "fusion_engine.post",
}
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Param:
    """Documentation and bounds of one parameter, put in its annotation with `Annotated`."""

    help: str
    ge: float | None = None
    le: float | None = None
    label: str | None = None
    expert: bool = False


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
        wanted: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "bool": (bool,), "str": (str,)}
        ok = isinstance(value, wanted[self.type]) and (self.type == "bool" or not isinstance(value, bool))
        if not ok or (self.type == "float" and value != value):
            words = f" or one of {', '.join(self.words)}" if self.words else ""
            raise RecipeError(f"{where}: {value!r} is not of type {self.type}{words}")
        if self.ge is not None and value < self.ge:
            raise RecipeError(f"{where}: {value!r} is too small; the smallest allowed value is {self.ge:g}")
        if self.le is not None and value > self.le:
            raise RecipeError(f"{where}: {value!r} is too large; the largest allowed value is {self.le:g}")
        return float(value) if self.type == "float" else value


@dataclass(frozen=True)
class MethodSpec:
    """A registered method: its function and everything derived from it."""

    kind: str
    name: str
    title: str
    summary: str
    citation: str
    needs: frozenset[str]
    scope: str
    min_parents: int
    max_parents: int | None
    accepts: frozenset[str] | None
    pairs: bool
    statistics: bool
    function: Callable[..., Any]
    parameters: tuple[ParameterSpec, ...]
    widths: Widths = "any"
    plan: Callable[..., Mapping[str, int]] | None = None
    reads: Callable[..., tuple[tuple[str, ...], int]] | None = None

    def as_json(self) -> dict[str, Any]:
        """The JSON-able description the forms are drawn from."""
        return {
            "kind": self.kind,
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "citation": self.citation,
            "needs": sorted(self.needs),
            "scope": self.scope,
            "min_parents": self.min_parents,
            "max_parents": self.max_parents,
            "accepts": None if self.accepts is None else sorted(self.accepts),
            "pairs": self.pairs,
            "statistics": self.statistics,
            "widths": self.widths,
            "parameters": [
                {f: getattr(p, f) for f in ParameterSpec.__dataclass_fields__} for p in self.parameters
            ],
        }


_METHODS: dict[tuple[str, str], MethodSpec] = {}


def register(
    kind: Kind,
    name: str,
    *,
    title: str,
    citation: str = "",
    needs: Iterable[Need] = (),
    scope: Scope = "space",
    min_parents: int = 1,
    max_parents: int | None = None,
    accepts: Iterable[str] | None = None,
    pairs: bool = False,
    statistics: bool = False,
    widths: Widths = "any",
    plan: Callable[..., Mapping[str, int]] | None = None,
    reads: Callable[..., tuple[tuple[str, ...], int]] | None = None,
) -> Callable[[F], F]:
    """Register a function as method `name` of `kind`.

    `accepts` lists the groupings a solver can work with, or the solvers a post step can follow; None means all.
    `pairs` (groupings only): every group takes exactly one neuron of every parent. `statistics` (post only): it
    estimates norms' running statistics, which other steps leave as they are. `widths` (groupings only): 'kept' where
    the fused model is as wide as the first parent, 'equal' where the parents have to be so too; `pairs` implies it.
    `plan` (groupings only): a function of the parents' widths (`grouping.planning.WidthPlan`) and the parameters that
    returns the fused width of every space which the grouping makes wider. `reads` (solvers only): a function of the
    inputs and the parameters that returns the nodes at which the solver will read the parents' features, and the bytes
    they may take: the pass that groupings make keeps them. Raises TypeError at import time if a
    keyword-only parameter lacks `Annotated[..., Param(...)]` or a default: that is a bug.
    """

    def decorate(function: F) -> F:
        summary = (inspect.getdoc(function) or "").strip().split("\n\n")[0].replace("\n", " ")
        _METHODS[kind, name] = MethodSpec(
            kind, name, title, summary, citation, frozenset(needs), scope, min_parents, max_parents,
            None if accepts is None else frozenset(accepts), pairs, statistics, function, _parameters(function),
            "equal" if pairs else widths, plan, reads,
        )
        return function

    return decorate


def _parameters(function: Callable[..., Any]) -> tuple[ParameterSpec, ...]:
    keyword_only = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
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
        by_space=any(get_origin(a) is Mapping for a in arms),
    )


def _load(kind: str) -> None:
    if kind not in KINDS:
        raise RecipeError(f"unknown kind of method {kind!r}; there are {', '.join(KINDS)}")
    package = importlib.import_module(_PACKAGES[kind])
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def names(kind: str) -> list[str]:
    """Names of all registered methods of `kind`, in registration order."""
    _load(kind)
    return [n for k, n in _METHODS if k == kind]


def get(kind: str, name: str) -> MethodSpec:
    """The method `name` of `kind`; RecipeError with the nearest name otherwise."""
    _load(kind)
    if (kind, name) in _METHODS:
        return _METHODS[kind, name]
    raise RecipeError(f"unknown {kind} {name!r}{nearest(name, names(kind))}")


def nearest(word: str, known: Iterable[str]) -> str:
    """'; did you mean X?' or the list of what there is: the tail of every message about an unknown name."""
    known = list(known)
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known) or 'none'}"


def check_parameters(kind: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Validate `given` against the method's signature and return it with all defaults filled in."""
    spec = get(kind, name)
    known = {p.name: p for p in spec.parameters}
    for key in given:
        if key not in known:
            raise RecipeError(f"{kind} {name!r} has no parameter {key!r}{nearest(key, known)}")
    return {
        p.name: p.check(given[p.name], f"{kind}.{p.name}") if p.name in given else p.default for p in spec.parameters
    }


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """JSON-able description of every registered method, by kind."""
    return {kind: [get(kind, name).as_json() for name in names(kind)] for kind in KINDS}
