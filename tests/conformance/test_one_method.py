"""Every registered method by itself, with every variant of its parameters: all that `checks.CHECKS` asks of its kind.

    make test ARGS="tests/conformance --method NAME"

runs this and whatever else is about the method NAME.
"""

from __future__ import annotations

from collections.abc import Callable

from fusion_engine.core import registry

from .cases import Case
from .checks import CHECKS, for_defaults, for_smallest
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
        for method in (
            [default(kind, name)] if check in for_defaults else variants(kind, name)
        )
    ]


def defaults() -> list[tuple[str, Method, Callable[[Case, Method], None]]]:
    """Of all methods, on networks of other kinds."""
    return [
        (name, default(kind, method), check)
        for name in OTHERS
        for kind, checks in CHECKS.items()
        for method in registry.names(kind)
        for check in checks
        if check not in for_smallest
    ]


@over(every_variant(), "method", "check")
def test_every_variant(case: Case, method: Method, check: Callable[[Case, Method], None]) -> None:
    check(case, method)


@over(defaults(), "method", "check")
def test_other_networks(case: Case, method: Method, check: Callable[[Case, Method], None]) -> None:
    check(case, method)
