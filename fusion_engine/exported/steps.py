"""The steps of an exported program: read from plain values with every name checked, and carried out one by one.

No source is generated from a program: it is a list of calls of known operators, made in order.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from ..core.errors import UnsupportedModelError
from .operators import find_operator, refuse_training

DTYPES: Final = {
    name: getattr(torch, name)
    for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
}
# torch's constants, by kind and name in a program.
_CONSTANTS: Final = {
    **{("dtype", name): dtype for name, dtype in DTYPES.items()},
    **{("memory_format", name): getattr(torch, name) for name in (
        "contiguous_format", "channels_last", "channels_last_3d", "preserve_format",
    )},
    ("layout", "strided"): torch.strided, ("device", "cpu"): torch.device("cpu"),
}
_NAME: Final = re.compile(r"\w[\w-]*(\.\w[\w-]*)*", re.ASCII)
_MAX_NAME = 300
_MAX_STEPS = 20_000
_MAX_DEPTH = 4


@dataclass(frozen=True)
class Earlier:
    """Refers to an earlier result: 0 is the program's input, 1 the first result of the first step, and so on."""

    number: int


@dataclass(frozen=True)
class Named:
    """Refers to a tensor of the network."""

    name: str


@dataclass(frozen=True)
class Step:
    """One call. returns: None for a single result, else how many results to unpack. last: results not needed later.
    module: path of the module that made the call when the program was exported; '' for the network itself."""

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    returns: int | None
    module: str
    last: tuple[int, ...] = ()


def execute(
    steps: Sequence[Step], tensors: Mapping[str, Tensor], example: Tensor, output: int,
    invoke: Callable[[Step, tuple[Any, ...], Mapping[str, Any]], Any],
) -> Any:
    """Carry out the steps on an input; `invoke` makes the calls. Results are dropped after their last use."""
    values: list[Any] = [example]

    def fill(part: Any) -> Any:
        if isinstance(part, Earlier):
            return values[part.number]
        if isinstance(part, Named):
            return tensors[part.name]
        return [fill(item) for item in part] if isinstance(part, list) else part

    for step in steps:
        keywords = {name: fill(part) for name, part in step.keywords.items()}
        result = invoke(step, tuple(fill(part) for part in step.arguments), keywords)
        if step.returns is None:
            values.append(result)
        elif isinstance(result, tuple | list) and len(result) >= step.returns:
            values += result[: step.returns]
        else:
            raise ValueError("an operator has fewer results than the program says")
        for number in step.last:
            values[number] = None
    return values[output]


def read_name(name: Any) -> str:
    """`name` if it is a dotted path of plain words; UnsupportedModelError otherwise."""
    if not isinstance(name, str) or len(name) > _MAX_NAME or _NAME.fullmatch(name) is None:
        raise UnsupportedModelError("the program has a tensor or module whose name is not made of plain words and dots")
    return name


def read_steps(entries: Any, tensors: frozenset[str], output: Any) -> tuple[Step, ...]:
    """Steps from their JSON form, every operator, name and reference checked. Raises UnsupportedModelError.

    An entry is {"op", "args", "kwargs", "returns", "module"}; in arguments {"value": number} stands for an earlier
    result, {"tensor": name} for a tensor, {"dtype": name}, {"memory_format": name}, {"layout": "strided"} and
    {"device": "cpu"} for torch's constants.
    """
    if not isinstance(entries, list) or len(entries) > _MAX_STEPS:
        raise UnsupportedModelError(f"the program has more than {_MAX_STEPS:,} steps")
    steps: list[Step] = []
    uses: list[list[int]] = []
    count = 1
    for entry in entries:
        reader = _Arguments(count, tensors)
        arguments = tuple(reader.read(part) for part in entry["args"])
        keywords = {str(name): reader.read(part) for name, part in entry["kwargs"].items()}
        returns = entry["returns"]
        if returns is not None and (type(returns) is not int or not 0 < returns <= 10_000):
            raise UnsupportedModelError("a step of the program has a wrong number of results")
        call = find_operator(entry["op"])
        refuse_training(call, entry["op"], arguments, keywords)
        module = read_name(entry["module"]) if entry["module"] else ""
        steps.append(Step(call, arguments, keywords, returns, module))
        uses.append(reader.used)
        count += 1 if returns is None else returns
    if type(output) is not int or not 0 < output < count:
        raise UnsupportedModelError("the program's output is none of its results")
    final = {number: position for position, used in enumerate(uses) for number in used if number != output}
    last: list[list[int]] = [[] for _ in steps]
    for number, position in final.items():
        last[position].append(number)
    return tuple(replace(step, last=tuple(dead)) for step, dead in zip(steps, last, strict=True))


class _Arguments:
    """Reads the arguments of one step; `used` collects the earlier results they refer to."""

    def __init__(self, count: int, tensors: frozenset[str]) -> None:
        self._count, self._tensors = count, tensors
        self.used: list[int] = []

    def read(self, part: Any, depth: int = 0) -> Any:
        """One argument from its JSON form."""
        if part is None or isinstance(part, bool | int | float | str):
            return part
        if isinstance(part, list) and depth < _MAX_DEPTH:
            return [self.read(item, depth + 1) for item in part]
        if isinstance(part, dict) and len(part) == 1:
            ((kind, value),) = part.items()
            if kind == "value" and type(value) is int and 0 <= value < self._count:
                self.used.append(value)
                return Earlier(value)
            if kind == "tensor" and value in self._tensors:
                return Named(value)
            if isinstance(value, str) and (kind, value) in _CONSTANTS:
                return _CONSTANTS[kind, value]
        raise UnsupportedModelError("an argument in the program is of a kind that is not read")
