"""docs/methods.md holds the tables that the registry gives today."""

from __future__ import annotations

from fusion_engine.cli.tables import markdown
from tests.conftest import ROOT


def test_tables_are_those_of_the_registry() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    written = text.split("recipes --markdown -->\n")[1].split("\n<!-- end -->")[0]
    assert written == markdown(), "write them again: python -m fusion_engine recipes --markdown"
