"""README.md and docs/methods.md hold the tables that the registry gives today."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_engine.cli import recipes as command
from fusion_engine.cli.main import main
from fusion_engine.cli.tables import COMMAND, read_table, tables
from fusion_engine.core import registry
from tests.conftest import ROOT


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, named in tables().items() for name in named])
def test_tables_are_those_of_the_registry(file: str, name: str) -> None:
    assert read_table(ROOT, file, name) == tables()[file][name], f"write the tables anew: {COMMAND}"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the documents, which the command takes for those of the repository."""
    (tmp_path / "docs").mkdir()
    for file in tables():
        (tmp_path / file).write_text((ROOT / file).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(command.fusion_engine, "__file__", str(tmp_path / "fusion_engine" / "__init__.py"))
    return tmp_path


def test_one_command_writes_a_new_method_everywhere(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.catalogue()
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    before = {file: (copy / file).read_text(encoding="utf-8") for file in tables()}
    solvers = ", ".join(f"`{name}`" for name in sorted([*registry.names("solver"), "fresh"]))

    @registry.register("solver", "fresh", title="Fresh | new", needs={"base"})
    def fresh(inputs: object) -> None:
        """Does a thing."""

    assert main(["recipes", "--write"]) == 0
    assert capsys.readouterr().out == "wrote the tables of README.md and docs/methods.md\n"
    after = {file: (copy / file).read_text(encoding="utf-8") for file in tables()}
    assert f"| solver | {solvers} |\n" in after["README.md"]
    assert "| `fresh` | Fresh \\| new | base model |  |\n" in after["docs/methods.md"]
    del registry._METHODS["solver", "fresh"]
    assert main(["recipes", "--write"]) == 0
    assert {file: (copy / file).read_text(encoding="utf-8") for file in tables()} == before


def test_a_document_without_a_place_is_named_and_nothing_is_written(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (copy / "README.md").read_text(encoding="utf-8")
    (copy / "README.md").write_text(readme.replace("average", "avarage"), encoding="utf-8")
    (copy / "docs" / "methods.md").write_text("# Methods", encoding="utf-8")
    assert main(["recipes", "--write"]) == 2
    assert "docs/methods.md has no place for the table of recipes and methods" in capsys.readouterr().err
    assert "avarage" in (copy / "README.md").read_text(encoding="utf-8")
    (copy / "docs" / "methods.md").unlink()
    assert main(["recipes", "--write"]) == 2
    assert "there is no docs/methods.md here" in capsys.readouterr().err
