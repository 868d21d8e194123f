"""The README names every preset and method there is, and nothing else in their tables."""

from __future__ import annotations

import re

import pytest

from fusion_engine.cli.tables import COMMAND
from fusion_engine.core import registry
from fusion_engine.presets import recipes
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", registry.KINDS)
def test_methods_table_is_complete(kind: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| {kind} |"))
    assert set(re.findall(r"`(\w+)`", row)) == set(registry.names(kind)), COMMAND


def test_presets_table_is_complete() -> None:
    table = README.split("| preset |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(recipes()), COMMAND
