"""The networks the importance methods are tested on."""

from __future__ import annotations

import pytest
from importance_cases import CASES, Case, mlp, vgg


@pytest.fixture(scope="session", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.fixture(scope="session")
def mlp_case() -> Case:
    return mlp()


@pytest.fixture(scope="session")
def vgg_case() -> Case:
    return vgg()
