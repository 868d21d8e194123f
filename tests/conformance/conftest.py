"""Every test here is about one network, `case`, or finds its own."""

from __future__ import annotations

import pytest

from .cases import Case, known_case


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    """The zoo model that the parameter names."""
    return known_case(request.param)
