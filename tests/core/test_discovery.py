"""Methods are found by looking into the folders: a new file is a new method, and no list has to name it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_engine.core import registry
from fusion_engine.core.errors import RecipeError
from tests.conftest import ROOT

METHOD = '''
from fusion_engine.core.registry import register

@register("post", "{name}", title="{name}")
def method(inputs, groupings, state, log):
    """Does a thing."""
'''
Write = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a package of post steps, file by file, that stands in for the engine's own."""
    registry.catalogue()
    name = f"steps_of_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    others = {key: spec for key, spec in registry._METHODS.items() if key[0] != "post"}
    monkeypatch.setattr(registry, "_METHODS", others)
    monkeypatch.setattr(registry, "_LOADED", registry._LOADED - {"post"})
    monkeypatch.setitem(registry._PACKAGES, "post", name)

    def write(**files: str) -> None:
        for file, text in files.items():
            path = tmp_path / name / f"{file.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()

    return write


def test_every_file_is_found_also_in_method_packages_in_alphabetical_order(folder: Write) -> None:
    step = METHOD.format
    folder(zeta=step(name="alpha"), helper="x = 1", alpha=step(name="zeta"), big__in____init__="from . import inner",
           big__in__inner=step(name="middle"), big__in__other=step(name="beta"))  # fmt: skip
    assert registry.names("post") == ["alpha", "beta", "middle", "zeta"]
    assert [entry["name"] for entry in registry.catalogue()["post"]] == registry.names("post")
    assert registry.get("post", "middle").title == "middle"


@pytest.mark.parametrize(
    ("text", "error"),
    [("def method(:", SyntaxError), ("import nothing_of_this_name", ModuleNotFoundError), ("1 / 0", ZeroDivisionError)],
)
def test_a_broken_file_gives_its_own_error(folder: Write, text: str, error: type[Exception]) -> None:
    folder(good=METHOD.format(name="good"), broken=text)
    for _ in range(2):  # the second time as the first
        with pytest.raises(error):
            registry.get("post", "missing")
    folder(broken="")
    with pytest.raises(RecipeError, match="unknown post 'missing'; there are: good"):
        registry.get("post", "missing")


def test_one_name_for_two_methods_is_a_bug(folder: Write) -> None:
    folder(one=METHOD.format(name="same"), two=METHOD.format(name="same"))
    with pytest.raises(TypeError, match=r"post 'same' is registered twice, in \S+\.one and \S+\.two"):
        registry.names("post")


@pytest.mark.parametrize("kind", registry.KINDS)
def test_what_the_source_registers_is_what_there_is(kind: str) -> None:
    package = ROOT.joinpath(*registry._PACKAGES[kind].split("."))
    written = re.compile(rf'^@register\(\s*"{kind}",\s*"(\w+)"', re.MULTILINE)
    found = [name for path in package.rglob("*.py") for name in written.findall(path.read_text(encoding="utf-8"))]
    assert sorted(found) == registry.names(kind)
    assert len(found) >= 5


@pytest.mark.parametrize("package", registry._PACKAGES.values())
def test_helpers_are_had_without_loading_the_methods(package: str) -> None:
    code = f"""
import sys, {package}
from fusion_engine.core import registry
print(len(registry._METHODS))
registry.catalogue()
print(len(registry._METHODS))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = done.stdout.split()
    assert int(before) <= 2  # a helper may stand in the file of a method
    assert int(after) > 20
