"""Registry of methods. A method is one function; its signature is its schema.

The recipe's validation, the app's forms, the command line's help and the table in the docs are all derived
from the keyword-only parameters of the registered function:

    @register("grouping", "kmeans", title="k-means", citation="...", needs={"moments", "importance"})
    def kmeans(stats, *, tries: Annotated[int, Param("restarts; the best is kept", ge=1, le=50)] = 5): ...

Every file in the folder of a kind is imported when a method of that kind is first asked for: a new file is a new
method, and a broken one gives its own error. Methods are always listed alphabetically.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeVar, get_args

from .errors import RecipeError
from .parameters import OTHERS, Param, ParameterSpec, nearest, read_parameters, takes_progress
from .progress import Progress

__all__ = [
    "KINDS", "OTHERS", "MethodSpec", "Param", "ParameterSpec", "catalogue", "check_parameters", "get", "names",
    "nearest", "needed", "register",
]  # fmt: skip

Kind = Literal["importance", "grouping", "solver", "post"]
Need = Literal["weights", "moments", "labels", "importance", "gradients", "class_counts", "base"]
Scope = Literal["space", "level", "network"]
Widths = Literal["any", "kept", "equal"]
KINDS: tuple[str, ...] = get_args(Kind)

Needs = Iterable[Need] | Mapping[Need, Mapping[str, Any]]
"""Names, or names with the parameters they hang on: {"moments": {}, "importance": {"weights": "importance"}}."""

# The packages whose files are the methods of each kind (imported on first use, never by core itself).
_PACKAGES = {kind: f"fusion_engine.{'solvers' if kind == 'solver' else kind}" for kind in KINDS}
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class MethodSpec:
    """A registered method: its function and everything derived from it. What the fields mean: see `register`.

    needs, uses: whatever the parameters are; `needed` and `used` tell for some. when: by need, the values of parameters
    it hangs on, or True for a parameter that only has to be set. takes_progress: the function has a keyword-only
    `progress: Progress`, which `run` hands in.
    """

    kind: str
    name: str
    title: str
    summary: str
    citation: str
    needs: frozenset[str]
    uses: frozenset[str]
    when: Mapping[str, Mapping[str, Any]]
    scope: str
    min_parents: int
    max_parents: int | None
    accepted: frozenset[str] | None
    pairs: bool
    linear: bool
    equivariant: bool | Callable[..., bool]
    keeps_norms: bool
    aligned_only: bool
    by_level: bool
    statistics: bool
    widths: Widths
    plan: Callable[..., Mapping[str, int]] | None
    reads: Callable[..., tuple[tuple[str, ...], int]] | None
    function: Callable[..., Any]
    parameters: tuple[ParameterSpec, ...]
    takes_progress: bool

    @property
    def accepts(self) -> frozenset[str] | None:
        """The groupings a solver works with, or the solvers a post step can follow; None for all."""
        if not self.statistics:
            return self.accepted
        return frozenset(name for name in names("solver") if get("solver", name).keeps_norms)

    def needed(self, parameters: Mapping[str, Any]) -> frozenset[str]:
        """What has to be there with these parameters; the others have their defaults."""
        return self._asked(self.needs, parameters)

    def used(self, parameters: Mapping[str, Any]) -> frozenset[str]:
        """What the method looks at with these parameters, where it is there: a change of it may change the result."""
        return self._asked(self.needs | self.uses, parameters)

    def _asked(self, needs: Iterable[str], parameters: Mapping[str, Any]) -> frozenset[str]:
        filled = {p.name: p.default for p in self.parameters} | dict(parameters)
        return frozenset(need for need in needs if _holds(self.when.get(need, {}), filled))

    def is_equivariant(self, parameters: Mapping[str, Any] | None = None) -> bool:
        """Whether the order of a parent's neurons makes no difference, with these parameters."""
        if isinstance(self.equivariant, bool):
            return self.equivariant
        return self.equivariant(**check_parameters(self.kind, self.name, dict(parameters or {})))

    def run(self, *given: Any, progress: Progress | None = None, **parameters: Any) -> Any:
        """What the function makes of `given` and checked parameters; it gets the progress where it takes it."""
        handed = {"progress": progress or Progress()} if self.takes_progress else {}
        return self.function(*given, **handed, **parameters)

    def as_json(self) -> dict[str, Any]:
        """The JSON-able description the forms are drawn from."""
        shown = {name: getattr(self, name) for name in _SHOWN}
        shown |= {"equivariant": self.is_equivariant(), "parameters": [dict(vars(p)) for p in self.parameters]}
        return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in shown.items()}


_SHOWN = (
    "kind", "name", "title", "summary", "citation", "needs", "uses", "when", "scope", "min_parents", "max_parents",
    "accepts", "pairs", "linear", "keeps_norms", "aligned_only", "statistics", "widths",
)  # fmt: skip
_METHODS: dict[tuple[str, str], MethodSpec] = {}
_LOADED: set[str] = set()


def register(
    kind: Kind,
    name: str,
    *,
    title: str,
    citation: str = "",
    needs: Needs = (),
    uses: Needs = (),
    scope: Scope = "space",
    min_parents: int = 1,
    max_parents: int | None = None,
    accepts: Iterable[str] | None = None,
    pairs: bool = False,
    linear: bool = False,
    equivariant: bool | Callable[..., bool] = False,
    keeps_norms: bool = False,
    aligned_only: bool = False,
    by_level: bool = False,
    statistics: bool = False,
    widths: Widths = "any",
    plan: Callable[..., Mapping[str, int]] | None = None,
    reads: Callable[..., tuple[tuple[str, ...], int]] | None = None,
) -> Callable[[F], F]:
    """Register a function as method `name` of `kind`.

    needs: what has to be there, or a recipe is refused. uses: what it looks at beyond that, where it is there. Either
    may hang on parameters: {"importance": {"weights": "importance"}} where `weights` has that value (or one of a
    tuple), {"labels": {"share": True}} where `share` is set: not 0, off or None.
    accepts: the groupings a solver can work with, or the solvers a post step can follow; None means all.

    Groupings: `pairs`: every group takes exactly one neuron of every parent. `linear`: fused neurons are any linear
    combinations, not groups, and have no labels. `equivariant`: reordering a parent's neurons reorders its part of the
    grouping and changes nothing else, where no two neurons are equally good; a function of the parameters where it
    depends on them. `widths`: 'kept' where the fused model is as wide as the first parent, 'equal' where the parents
    have to be so too; `pairs` implies it. `plan`: a function of the parents' widths (`grouping.planning.WidthPlan`) and
    the parameters that returns the fused width of every space which the grouping makes wider.

    Solvers: `keeps_norms`: batch norms live on in the fused network, with statistics that describe its activations.
    `aligned_only`: it sees the parents only as the grouping aligns them, and treats all groupings alike. `by_level`: a
    level's weights follow from its own groupings and the levels before it, so that a fusion with other groupings can
    keep the levels before them. `reads`: a function of the inputs and the parameters that returns the nodes at which it
    will read the parents' features, and the bytes they may take: the pass that groupings make keeps them.

    Post: `statistics`: it estimates norms' running statistics, which other steps leave as they are; it follows the
    solvers that keep norms.

    Raises TypeError at import time for what is a bug: a keyword-only parameter without `Annotated[..., Param(...)]` or
    a default, a need or a parameter of one that there is not, a name that another module has taken.
    """

    def decorate(function: F) -> F:
        earlier = _METHODS.get((kind, name))
        if earlier is not None and earlier.function.__module__ != function.__module__:
            modules = f"{earlier.function.__module__} and {function.__module__}"
            raise TypeError(f"{kind} {name!r} is registered twice, in {modules}")
        parameters = read_parameters(function)
        summary = (inspect.getdoc(function) or "").strip().split("\n\n")[0].replace("\n", " ")
        when = _conditions(f"{kind} {name!r}", (needs, uses), parameters)
        accepted = None if accepts is None else frozenset(accepts)
        _METHODS[kind, name] = MethodSpec(
            kind, name, title, summary, citation, frozenset(needs), frozenset(uses), when, scope, min_parents,
            max_parents, accepted, pairs, linear, equivariant, keeps_norms, aligned_only, by_level,
            statistics, "equal" if pairs else widths, plan, reads, function, parameters, takes_progress(function),
        )
        return function

    return decorate


def _conditions(method: str, given: Iterable[Needs], parameters: Iterable[ParameterSpec]) -> dict[str, dict[str, Any]]:
    """By need that hangs on parameters: their names with the values (a list) that call for it, or True."""
    declared, found = {p.name for p in parameters}, {}
    for needs in given:
        for need in needs:
            conditions = needs[need] if isinstance(needs, Mapping) else {}
            if need not in get_args(Need) or not conditions.keys() <= declared:
                raise TypeError(f"{method}: {need!r} is no need, or hangs on a parameter that there is not")
            if conditions:
                found[str(need)] = {
                    p: v if v is True else list(v) if isinstance(v, tuple) else [v] for p, v in conditions.items()
                }
    return found


def _holds(conditions: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    return all(bool(parameters[p]) if v is True else parameters[p] in v for p, v in conditions.items())


def needed(entry: Mapping[str, Any], parameters: Mapping[str, Any]) -> frozenset[str]:
    """`MethodSpec.needed` of an entry of the catalogue, for callers that read that alone."""
    filled = {p["name"]: p["default"] for p in entry["parameters"]} | dict(parameters)
    return frozenset(need for need in entry["needs"] if _holds(entry.get("when", {}).get(need, {}), filled))


def _load(kind: str) -> None:
    if kind not in KINDS:
        raise RecipeError(f"unknown kind of method {kind!r}; there are {', '.join(KINDS)}")
    if kind not in _LOADED:
        _import_all(importlib.import_module(_PACKAGES[kind]))
        _LOADED.add(kind)


def _import_all(package: ModuleType) -> None:
    """Import every module in a package, and in the packages inside it. Whatever one raises comes out."""
    for entry in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(entry.name)
        if entry.ispkg:
            _import_all(module)


def names(kind: str) -> list[str]:
    """Names of all registered methods of `kind`, in alphabetical order."""
    _load(kind)
    return sorted(name for k, name in _METHODS if k == kind)


def get(kind: str, name: str) -> MethodSpec:
    """The method `name` of `kind`; RecipeError with the nearest name otherwise."""
    _load(kind)
    if (kind, name) in _METHODS:
        return _METHODS[kind, name]
    raise RecipeError(f"unknown {kind} {name!r}{nearest(name, names(kind))}")


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
