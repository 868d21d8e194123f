"""Every registered method by itself, with every variant of its parameters: all that `checks.CHECKS` asks of its kind.

    make test ARGS="tests/conformance --method NAME"

runs this and whatever else is about the method NAME.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fusion_engine.core import registry
from fusion_engine.core.errors import UnsupportedModelError

from .cases import Case
from .checks import CHECKS, ONCE, WITHOUT_NUMBERS, solver_ignores_the_order_of_neurons
from .engine import Method
from .methods import default, over, variants

SMALLEST = "mlp"
OTHERS = ("densenet", "vit_fused")


def every_variant() -> list[tuple[str, Method, Callable[[Case, Method], None]]]:
    """Of all methods, on the smallest network."""
    return [
        (SMALLEST, method, check)
        for kind, checks in CHECKS.items()
        for name in registry.names(kind)
        for check in checks
        for method in variants(kind, name, numbers=check not in WITHOUT_NUMBERS)[: 1 if check in ONCE else None]
    ]


def defaults() -> list[tuple[str, Method, Callable[[Case, Method], None]]]:
    """Of all methods, on networks of other kinds."""
    return [
        (name, default(kind, method), check)
        for name in OTHERS
        for kind, checks in CHECKS.items()
        for method in registry.names(kind)
        for check in checks
        if check not in (*ONCE, solver_ignores_the_order_of_neurons)  # which test_indifference asks of more networks
    ]


@over(every_variant(), "method", "check")
def test_every_variant(case: Case, method: Method, check: Callable[[Case, Method], None]) -> None:
    check(case, method)


@over(defaults(), "method", "check")
def test_other_networks(case: Case, method: Method, check: Callable[[Case, Method], None]) -> None:
    try:
        check(case, method)
    except UnsupportedModelError as reason:
        assert method.kind == "importance"
        pytest.skip(str(reason))
