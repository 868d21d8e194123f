"""Do parents belong together?"""

from collections.abc import Iterable, Sequence

from ..architectures import CustomConfig
from ..architectures.resize import resized
from ..core.errors import DataError, ParentError, UnsupportedModelError
from ..data import Dataset
from ..exported import ExportedConfig
from .parent import Parent

MAX_PARENTS = 8


def check_parents(parents: Sequence[Parent], *, minimum: int = 2) -> list[str]:
    """Raise ParentError unless there are `minimum` to 8 parents of one architecture, layer for layer. Built-in
    architectures may differ in their widths.

    Returns notes on what is allowed but worth knowing: identical parents, different widths, class counts that only
    some have, what reading did to them, what the files do not say and was assumed.
    """
    if len(parents) < minimum:
        raise ParentError(f"{minimum} parents or more are needed, and there {_are(len(parents))}")
    if len(parents) > MAX_PARENTS:
        raise ParentError(f"at most {MAX_PARENTS} parents can be fused, and there {_are(len(parents))}")
    for other in parents[1:]:
        _compare(parents[0], other)
    notes = []
    seen: dict[str, str] = {}
    for parent in parents:
        if parent.digest in seen:
            notes.append(f"{seen[parent.digest]} and {parent.name} are identical")
        seen.setdefault(parent.digest, parent.name)
    if not same_widths(parents):
        notes.append("the parents have different widths: the fused network gets the first one's")
    lacking = [parent.name for parent in parents if parent.metadata.class_counts is None]
    if lacking and len(lacking) < len(parents):
        notes.append(f"class counts are not known for {', '.join(lacking)}, so they are not used")
    return [*notes, *remarks(parents), *assumptions(parents)]


def check_inputs(data: Dataset, parent: Parent) -> None:
    """Raise DataError unless the data's inputs are of the kind that the parent takes: real numbers, or its tokens."""
    wanted = tuple(getattr(parent.architecture, "inputs", ()))
    if isinstance(parent.architecture, CustomConfig | ExportedConfig) and not wanted:
        return  # made from Python: the trace will tell
    if isinstance(parent.architecture, ExportedConfig) and len(data.tokens) == 1:
        return  # a program has one input, whatever it is called
    if data.tokens and not wanted:
        raise DataError(
            f"{data.name}: x holds whole numbers, which are tokens, and {parent.name} takes real numbers; store x as "
            "uint8 or float32"
        )
    if wanted and data.tokens != tuple(name.removesuffix(":bool") for name in wanted):
        given = ", ".join(data.tokens) or "real numbers"
        raise DataError(f"{data.name}: {parent.name} was read for the inputs {', '.join(wanted)}, and here are {given}")


def assumptions(parents: Sequence[Parent]) -> list[str]:
    """What was assumed of these parents, each line once, with their names where it is not all of them."""
    return _once([(parent.name, line) for parent in parents for line in parent.metadata.assumed.values()], len(parents))


def remarks(parents: Sequence[Parent]) -> list[str]:
    """What reading did to these parents, and what it left out; as `assumptions`."""
    return _once([(parent.name, line) for parent in parents for line in parent.metadata.reading], len(parents))


def _once(lines: Iterable[tuple[str, str]], parents: int) -> list[str]:
    concerned: dict[str, list[str]] = {}
    for name, line in lines:
        concerned.setdefault(line, []).append(name)
    return [line if len(names) == parents else f"{', '.join(names)}: {line}" for line, names in concerned.items()]


def same_widths(parents: Sequence[Parent]) -> bool:
    """Whether all tensors have the same shapes in all parents."""
    first = parents[0].state
    return all(parent.state[name].shape == tensor.shape for parent in parents[1:] for name, tensor in first.items())


def _compare(first: Parent, other: Parent) -> None:
    pair = f"{first.name} and {other.name}"
    if first.architecture.name != other.architecture.name:
        raise ParentError(
            f"{pair} have different architectures: {first.architecture} and {other.architecture}; "
            "parents must share one"
        )
    if first.classes != other.classes:
        raise ParentError(f"{pair} have different numbers of classes: {first.classes} and {other.classes}")
    for has, lacks in ((first, other), (other, first)):
        extra = next((name for name in has.state if name not in lacks.state), None)
        if extra is not None:
            raise ParentError(f"{has.name} has a layer {extra!r} and {lacks.name} has not; parents must share layers")
    shapes = {name: tuple(tensor.shape) for name, tensor in other.state.items()}
    name = next((name for name, tensor in first.state.items() if tuple(tensor.shape) != shapes[name]), None)
    alike = first.architecture
    if name is not None:
        try:
            alike = resized(first.architecture, shapes)
        except UnsupportedModelError:
            raise ParentError(
                f"layer {name!r} is {tuple(first.state[name].shape)} in {first.name} and {shapes[name]} in "
                f"{other.name}; parents must agree in every layer, or be one built-in architecture at different widths"
            ) from None
    if alike != other.architecture:
        raise ParentError(f"{pair} differ in what their layers do: {first.architecture} and {other.architecture}")


def _are(count: int) -> str:
    return {0: "are none", 1: "is one"}.get(count, f"are {count}")
