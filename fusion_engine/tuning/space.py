"""The parameters of a recipe that a search may change, and where it looks: read from the methods' declarations. Imports
neither torch nor Optuna."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..core.capability import Methods, used
from ..core.errors import RecipeError
from ..core.parameters import ParameterSpec, nearest

WIDTH = "width"
_WIDE = 1000.0  # highest over lowest, beyond which bounds say what is allowed, not what is sensible
_NEAR = {"int": 10.0, "float": 100.0}  # how far from its default a parameter with such bounds is looked for
_LOG = 100.0  # highest over lowest, from which on a scale is logarithmic
_MOST = 12  # parameters of one search
_DIGITS = 4
_LARGEST = 2**53


@dataclass(frozen=True)
class Dimension:
    """One parameter of a search.

    path: as in `Recipe.set`, 'solver.ridge'. kind: 'choice' has choices, the others low and high, both included. log:
    whether low to high is searched by orders of magnitude. start: what the recipe has, which may be a word such as
    'auto' that a search of numbers does not meet again. expert: not among those that are searched unless asked for.
    """

    path: str
    label: str
    kind: Literal["int", "float", "choice"]
    low: float
    high: float
    log: bool
    choices: tuple[Any, ...]
    start: Any
    help: str = ""
    expert: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain values; `Dimension.from_json` gives it back."""
        return {**vars(self), "choices": list(self.choices)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Dimension":
        return cls(**{**value, "choices": tuple(value["choices"])})

    def rounded(self, value: Any) -> Any:
        """A suggested value as it is written into the recipe: a float with four digits, within its bounds."""
        if self.kind != "float":
            return value
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value is one that the search could suggest."""
        if self.kind == "choice":
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high


def dimensions(recipe: Mapping[str, Any], methods: Methods) -> list[Dimension]:
    """Every parameter of the recipe's own methods that a search can change, in the recipe's order; last the width,
    where the grouping makes networks of any.

    Where it looks is what the method declares: its choices, its usual range, or its bounds; of bounds that are very far
    apart what is within a factor of ten (whole numbers) or a hundred of the default. Parameters without any bounds
    (text, memory) are not searched. recipe: a Recipe's mapping.
    """
    found = [
        dimension for prefix, step, entry in _placed(recipe, methods) for declared in entry["parameters"]
        if (dimension := _derived(f"{prefix}.{declared['name']}", declared, step, entry)) is not None
    ]
    if any(prefix == "grouping" and entry["widths"] != "any" for prefix, _, entry in _placed(recipe, methods)):
        return found
    width = float(recipe.get(WIDTH, 1.0))
    help_ = "hidden widths of the fused network over the first parent's"
    return [*found, Dimension(WIDTH, "Width", "float", 0.25, 2.0, False, (), width, help_, expert=True)]


def chosen(
    recipe: Mapping[str, Any], methods: Methods, given: Mapping[str, Mapping[str, Any]] | Sequence[str] | None = None
) -> list[Dimension]:
    """The dimensions of a search. given: paths, or paths with {"low", "high", "log"} or {"choices"} in place of what is
    declared ({}: as declared); None: all but those for experts. Raises RecipeError in one line for paths and values
    that the recipe's methods do not have, and where nothing is left to search."""
    known = {dimension.path: dimension for dimension in dimensions(recipe, methods)}
    if given is None:
        given = [path for path, dimension in known.items() if not dimension.expert]
    if not isinstance(given, Mapping | list | tuple) or not all(isinstance(path, str) for path in given):
        raise RecipeError("dimensions are paths, or paths with where each is looked for")
    wanted = dict(given) if isinstance(given, Mapping) else {path: {} for path in given}
    found = [_narrowed(path, {} if about is None else about, known, recipe, methods) for path, about in wanted.items()]
    if not found:
        raise RecipeError("there is no parameter to search: choose one, or a recipe whose methods have some")
    if len(found) > _MOST:
        raise RecipeError(f"{len(found)} parameters are too many for one search; choose at most {_MOST}")
    return found


def parse_dimension(text: str) -> tuple[str, dict[str, Any]]:
    """'solver.ridge=1e-6:1', 'grouping.start=kmeans++,heaviest_first' or 'grouping.tries' as an entry of `chosen`'s
    mapping. RecipeError for anything else."""
    path, sign, value = text.partition("=")
    if not path.strip() or (sign and not value.strip()):
        raise RecipeError(f"--tune {text}: write PATH, PATH=LOW:HIGH or PATH=A,B, such as solver.ridge=1e-6:1")
    if not sign:
        return path.strip(), {}
    if ":" in value:
        ends = value.split(":")
        try:
            low, high = (float(end) for end in ends)
        except ValueError:
            raise RecipeError(f"--tune {text}: a range is two numbers with a colon between, such as 1e-6:1") from None
        return path.strip(), {"low": _bounded(path, low), "high": _bounded(path, high)}
    return path.strip(), {"choices": [_bounded(path, _word(part.strip())) for part in value.split(",")]}


def _bounded(path: str, value: Any) -> Any:
    """`value`; RecipeError for a number that is none, or beyond what whole numbers are told apart by."""
    if isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:
        raise RecipeError(f"{path.strip()}: a search takes numbers up to {_LARGEST:.0e}, not {value:g}")
    return value


def _word(text: str) -> Any:
    """A choice as text has it: true and false, a number, or a word."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _placed(recipe: Mapping[str, Any], methods: Methods) -> Iterable[tuple[str, Any, Mapping[str, Any]]]:
    """Prefix of paths, step and description of each method of the recipe that there is."""
    number = 0
    for kind, step, entry in used(recipe, methods):
        prefix = kind
        if kind == "post":
            prefix, number = f"post.{number}", number + 1
        if entry is not None:
            yield prefix, step, entry


def _derived(path: str, declared: Mapping[str, Any], step: Mapping[str, Any], entry: Mapping[str, Any]) -> (
    Dimension | None
):
    start = step.get(declared["name"], declared["default"])
    named = {
        "path": path, "label": declared["label"], "start": start, "help": declared["help"],
        "expert": bool(declared["expert"]),
    }  # fmt: skip
    choices = declared["choices"] or ((False, True) if declared["type"] == "bool" else None)
    if choices:
        offered = (None, *choices) if declared["optional"] else tuple(choices)
        return Dimension(kind="choice", low=0.0, high=0.0, log=False, choices=offered, **named)
    bounds = _range(declared)
    if bounds is None:
        return None
    return Dimension(kind=declared["type"], low=bounds[0], high=bounds[1], log=_by_orders(*bounds), choices=(), **named)


def _range(declared: Mapping[str, Any]) -> tuple[float, float] | None:
    """Where a number is looked for; None where its method does not say."""
    if declared["type"] not in ("int", "float"):
        return None
    if declared.get("usual"):
        low, high = declared["usual"]
        return float(low), float(high)
    low, high, default = declared["ge"], declared["le"], declared["default"]
    if low is None or high is None:
        return None
    low, high = float(low), float(high)
    number = isinstance(default, int | float) and not isinstance(default, bool) and default > 0
    # Bounds from 0 on are as wide as the default is small.
    if number and high > _WIDE * (low if low > 0 else 0.1 * default):
        factor = _NEAR[declared["type"]]
        low, high = max(low, default / factor), min(high, default * factor)
        if declared["type"] == "int":
            low, high = math.ceil(low), math.floor(high)
    return float(low), float(high)


def _by_orders(low: float, high: float) -> bool:
    return low > 0 and high / low >= _LOG


def _narrowed(
    path: str, about: Mapping[str, Any], known: Mapping[str, Dimension], recipe: Mapping[str, Any], methods: Methods
) -> Dimension:
    """The dimension of a path, with the range or the choices that a user gave."""
    if not isinstance(about, Mapping):
        raise RecipeError(f"{path}: a range is {{low, high}}, or choices, not {str(about)[:40]}")
    dimension = known.get(path)
    declared = None if path == WIDTH else _declared(path, recipe, methods)
    if dimension is None and declared is not None and about and declared["type"] in ("int", "float"):
        start = dict(_steps(recipe, methods))[path.rpartition(".")[0]].get(declared["name"], declared["default"])
        dimension = Dimension(path, declared["label"], declared["type"], 0.0, 0.0, False, (), start, declared["help"])
    if dimension is None:
        reason = "its method declares no bounds; give a range" if declared else f"there is none{nearest(path, known)}"
        raise RecipeError(f"{path}: no parameter to search: {reason}")
    unknown = set(about) - {"low", "high", "log", "choices"}
    if unknown:
        raise RecipeError(f"{path}: a range has low, high and log, or choices, not {sorted(unknown)[0]!r}")

    def checked(value: Any) -> Any:
        if declared is None:
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0.05 <= value <= 8:
                raise RecipeError(f"{path}: {value!r} is not a width from 0.05 to 8")
            return float(value)
        spec = replace(ParameterSpec(**declared), by_space=False)
        value = _bounded(path, value)
        if spec.type == "int" and isinstance(value, float) and value.is_integer():
            value = int(value)
        return spec.check(value, path)

    if about.get("choices") is not None:
        offered = about["choices"]
        if not isinstance(offered, list | tuple) or not 1 <= len(offered) <= 50:
            raise RecipeError(f"{path}: choices are a list of 1 to 50 values")
        values = tuple(dict.fromkeys(checked(value) for value in offered))
        return replace(dimension, kind="choice", low=0.0, high=0.0, log=False, choices=values)
    if dimension.kind == "choice":
        if "low" in about or "high" in about:
            raise RecipeError(f"{path}: it has choices, not a range: {', '.join(map(str, dimension.choices))}")
        return dimension
    low, high = (checked(about.get(end, getattr(dimension, end))) for end in ("low", "high"))
    if not all(isinstance(end, int | float) for end in (low, high)) or not low < high:
        raise RecipeError(f"{path}: a range is two numbers, the lower one first, not {low} to {high}")
    log = bool(about.get("log", _by_orders(low, high)))
    if log and low <= 0:
        raise RecipeError(f"{path}: a range from {low:g} on has no orders of magnitude; begin above 0, or set log off")
    return replace(dimension, low=float(low), high=float(high), log=log)


def _steps(recipe: Mapping[str, Any], methods: Methods) -> Iterable[tuple[str, Mapping[str, Any]]]:
    return ((prefix, step) for prefix, step, _ in _placed(recipe, methods))


def _declared(path: str, recipe: Mapping[str, Any], methods: Methods) -> Mapping[str, Any] | None:
    """What the method says of the parameter at this path; None where there is none."""
    prefix, _, name = path.rpartition(".")
    for at, _, entry in _placed(recipe, methods):
        if at == prefix:
            return next((p for p in entry["parameters"] if p["name"] == name), None)
    return None

