"""The rules of docs/architecture.md about who may import whom, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "fusion_engine"
APP = sorted([*ROOT.glob("app.py"), *ROOT.glob("pages/**/*.py")])

# Bottom to top. A layer imports from its own tier and the tiers before it.
TIERS = [
    {"core"},
    {"architectures"},
    {"data"},
    {"parents"},
    {"graph"},
    {"stats"},
    {"context"},
    {"importance", "grouping", "solvers", "post", "evaluation", "embedding", "training"},
    {"analysis"},
    {"presets", "demo"},
    {"store"},
    {"widths", "fusion_report"},
    {"pipeline"},
    {"leaderboard", "exploration"},
    {"jobs"},
    {"cli"},
    {"__main__"},
]
RANK = {layer: rank for rank, tier in enumerate(TIERS) for layer in tier}
HEAVY = {"torch", "umap", "sklearn", "scipy", "numba", "captum", "ot", "pynndescent"}


def imports(path: Path) -> Iterator[str]:
    """Full names of everything a file imports, at any depth; relative imports resolved."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def layer_of(path: Path) -> str:
    return path.relative_to(ENGINE).with_suffix("").parts[0]


ENGINE_FILES = sorted(p for p in ENGINE.rglob("*.py") if p != ENGINE / "__init__.py")


def test_every_layer_has_its_place() -> None:
    assert {layer_of(p) for p in ENGINE_FILES} <= set(RANK)


@pytest.mark.parametrize("path", ENGINE_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_layers_import_only_downwards(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "fusion_engine" or len(parts) < 2 or parts[1] not in RANK:
            continue
        assert RANK[parts[1]] <= RANK[layer_of(path)], f"{path.name} imports {name}, which is above it"


def test_the_layering_test_sees_relative_imports() -> None:
    assert "fusion_engine.core.errors.FusionError" in set(imports(ENGINE / "jobs" / "__main__.py"))
    assert "fusion_engine.jobs.service.serve.serve" in set(imports(ENGINE / "jobs" / "__main__.py"))


def test_the_engine_never_imports_streamlit() -> None:
    for path in ENGINE.rglob("*.py"):
        assert not any(name.split(".")[0] == "streamlit" for name in imports(path)), path.name


@pytest.mark.parametrize("path", APP, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_import_nothing_that_computes(path: Path) -> None:
    allowed = ("core", "store", "presets")
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in HEAVY | {"distributed", "dask"}, f"{path.name} imports {name}"
        if parts[0] == "fusion_engine" and len(parts) > 1 and parts[1] in RANK:
            fine = parts[1] in allowed or parts[1:3] == ["jobs", "client"]
            assert fine, f"{path.name} imports {name}; pages read results, workers compute"


@pytest.mark.parametrize(
    "module",
    [
        "fusion_engine",
        "fusion_engine.core.recipe",
        "fusion_engine.core.registry",
        "fusion_engine.core.seeds",
        "fusion_engine.core.types",
        "fusion_engine.store",
        "fusion_engine.presets",
        "fusion_engine.jobs.client",
    ],
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    code = f"""
import sys, {module}
if {module!r} == "fusion_engine.presets":
    {module}.recipes()
print(sorted({HEAVY | {"distributed"}!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["fusion_engine", "pages", "tests", "benchmarks"])
def test_files_stay_short(folder: str) -> None:
    for path in [*(ROOT / folder).rglob("*.py"), *ROOT.glob("*.py")]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 320, f"{path.relative_to(ROOT)} has {lines} lines; split it by subject"
