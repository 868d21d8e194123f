"""Which methods are tried, with which parameters, together with which others, on which networks: all of it is read from
the registry, so that a new method is tried without being named here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from fusion_engine.core import registry
from tests.zoo import zoo_names

from .cases import FEW
from .engine import Method, accepted, aligned_only, is_equivariant

__all__ = [
    "GROUPINGS", "IMPORTANCES", "KINDS", "MATCHINGS", "SOLVERS", "STEPS", "companion", "default", "joined_pairs",
    "over", "pairs", "short", "some_cases", "trains", "variants",
]  # fmt: skip

GROUPINGS = registry.names("grouping")
SOLVERS = registry.names("solver")
STEPS = registry.names("post")
IMPORTANCES = registry.names("importance")
# One grouping of each kind goes with every solver on every architecture: none, pairs of two parents, groups of any
# size, and one neuron of every parent. What other groupings give a solver is of these kinds.
KINDS = ("identity", "hungarian", "kmeans", "balanced")
# What trains is cut short: its result is no better or worse for that.
_SHORT = {"steps": 3, "epochs": 1, "mixtures": 0}
_FEW_VALUES = 50


def trains(method: Method) -> bool:
    """Whether a solver or a step draws samples and follows gradients, so that what comes out depends on their order."""
    return method.kind in ("solver", "post") and "gradients" in method.spec.needs


def short(method: Method) -> Method:
    """The method, with few steps if it trains."""
    if not trains(method):
        return method
    names = {parameter.name for parameter in method.spec.parameters} - {name for name, _ in method.settings}
    return Method(method.kind, method.name, (*method.settings, *((k, v) for k, v in _SHORT.items() if k in names)))


def default(kind: str, name: str) -> Method:
    """The method with its defaults; what trains is cut short."""
    return short(Method(kind, name))


def variants(kind: str, name: str, *, numbers: bool = True) -> list[Method]:
    """The method with its defaults, then with every other value of every parameter that has few: choices, words, both
    of a bool; and, with `numbers`, the ends of a number's range, and one near the end that is its default (a little
    softer than hard).

    What trains is not tried at the ends of its numbers, where it is not meant to get anywhere.
    """
    found = [Method(kind, name)]
    for parameter in registry.get(kind, name).parameters:
        values = [*(parameter.choices or ()), *parameter.words, *((False, True) if parameter.type == "bool" else ())]
        if numbers and parameter.type in ("int", "float") and not trains(found[0]):
            values += _ends(parameter)
        settings = [(parameter.name, v) for v in dict.fromkeys(values) if v != parameter.default]
        found += [Method(kind, name, (setting,)) for setting in settings]
    return [short(method) for method in found]


def _ends(parameter: registry.ParameterSpec) -> list[Any]:
    low, high = parameter.ge, parameter.le
    if parameter.type == "int":
        small = [] if low is None else [int(low), int(low) + 1]
        return [*small, int(high)] if high is not None and high <= _FEW_VALUES and low != 1 else small
    ends = [float(end) for end in (low, high) if end is not None]
    return [*ends, low + (high - low) / 1000] if low is not None and low == parameter.default and high else ends


def matching_variants() -> list[Method]:
    """Groupings that do not depend on the order of a parent's neurons, in all their variants."""
    return [m for name in GROUPINGS for m in variants("grouping", name) if is_equivariant(m)]


MATCHINGS = [m for m in matching_variants() if not m.settings]


def companion(solver: str) -> list[Method]:
    """The equivariant groupings that a solver takes."""
    names = accepted(registry.get("solver", solver), [m.name for m in MATCHINGS])
    return [m for m in MATCHINGS if m.name in names]


# ---- pairs of groupings and solvers, and the architectures they are tried on


def pairs(*without: str) -> Iterator[tuple[str, str]]:
    """Groupings and the solvers that accept them; one grouping is enough for the solvers like average."""
    for solver in SOLVERS:
        names = accepted(registry.get("solver", solver), GROUPINGS)
        if aligned_only(solver) and solver != "average":
            names = ["kmeans"] if "kmeans" in names else names[:1]
        yield from ((grouping, solver) for grouping in names if grouping not in without)


def joined_pairs(*without: str, everywhere: bool = True) -> list[tuple[str, Method, Method]]:
    """Architectures with `pairs`; everywhere: all groupings on all architectures, with solver average."""
    return [
        (name, Method("grouping", grouping), Method("solver", solver))
        for name, (grouping, solver) in itertools.product(zoo_names(), list(pairs(*without)))
        if grouping in KINDS
        or (solver == "average" and (everywhere or name in FEW))
        or (solver == "least_squares" and name in FEW[:2])
        or name == FEW[0]
    ]


def some_cases(*without: str, few: tuple[str, ...] = FEW) -> list[tuple[str, Method]]:
    """Architectures with groupings: all of them for one of each kind, the `few` for the others."""
    return [
        (name, Method("grouping", grouping))
        for name, grouping in itertools.product(zoo_names(), GROUPINGS)
        if grouping not in without and (grouping in KINDS or name in few)
    ]


def over(arguments: Sequence[tuple[Any, ...]], *names: str) -> pytest.MarkDecorator:
    """Parametrise by network and more; the names of the network and of methods and functions are in the test's id."""
    ids = ["-".join(getattr(value, "__name__", str(value)) for value in values) for values in arguments]
    return pytest.mark.parametrize(("case", *names), arguments, indirect=["case"], ids=ids)
