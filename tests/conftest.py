"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

# Small problems on shared machines: threads of several libraries would only wait for each other. Set before anything
# imports a library that reads it.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
# What several workers begin with, as it takes longest: a browser, and services of processes.
_LONGEST = ("tests/browser", "tests/jobs", "tests/cli", "tests/analysis", "tests/pages")
_MANY = "tests/conformance"
_TOGETHER = "tests/browser"  # one app and one job service serve all its tests


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of the quick tier, for whoever writes a method."""
    parser.addoption("--method", metavar="NAME", help="only tests that are about the method NAME")


def _is_about(item: pytest.Item, method: str) -> bool:
    """Whether one of the test's parameters is the method, or its name."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return any((value if isinstance(value, str) else getattr(value, "name", None)) == method for value in values)


@pytest.hookimpl(tryfirst=True)  # before the workers' plugin reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the tests of one method, and say which tests one worker takes together: those of a file, which may share
    what is expensive, those in a browser, which share an app, and of the conformance tests those about one network,
    which is traced once. The long ones come first, so that no worker is left with one at the end."""
    name = config.getoption("--method")
    if name:
        config.hook.pytest_deselected(items=[item for item in items if not _is_about(item, name)])
        items[:] = [item for item in items if _is_about(item, name)]
    for item in items:
        group = item.nodeid.split("::")[0]
        if group.startswith(_MANY) and hasattr(item, "callspec") and "case" in item.callspec.params:
            group = f"{_MANY}/{item.callspec.params['case']}"
        elif group.startswith(_TOGETHER):
            group = _TOGETHER
        item.add_marker(pytest.mark.xdist_group(group))
    ranks = {folder: rank for rank, folder in enumerate(_LONGEST)}
    folders = {item: "/".join(item.nodeid.split("/")[:2]) for item in items}
    items.sort(key=lambda i: len(ranks) + 1 if folders[i] == _MANY else ranks.get(folders[i], len(ranks)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real parents and data; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("FUSION_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared test data (../shared/data, or FUSION_TEST_DATA) is not here")
    return folder
