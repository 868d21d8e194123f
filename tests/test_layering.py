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

# Bottom to top. A layer imports from itself and from the layers before it, so no two of them can lean on each other.
LAYERS = [
    "core",
    "architectures",
    "data",
    "tasks",
    "exported",
    "parents",
    "graph",
    "stats",
    "fusing",
    "importance",
    "grouping",
    "solvers",
    "post",
    "evaluation",
    "embedding",
    "training",
    "presets",
    "demo",
    "store",
    "pipeline",
    "analysis",
    "leaderboard",
    "tuning",
    "exploration",
    "sharing",
    "teaching",
    "jobs",
    "cli",
    "__main__",
]
RANK = {layer: rank for rank, layer in enumerate(LAYERS)}
MOST_FILES = 13  # in a folder; more want rooms
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
    assert {layer_of(p) for p in ENGINE_FILES} == set(RANK)


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
    light = (
        "jobs.client", "exploration.edit_preview", "exploration.correlations", "tuning.space", "sharing.html_report",
        "sharing.snippet", "teaching.shipped_lessons",
    )  # fmt: skip
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in HEAVY | {"distributed", "dask"}, f"{path.name} imports {name}"
        if parts[0] == "fusion_engine" and len(parts) > 1 and parts[1] in RANK:
            fine = parts[1] in allowed or ".".join(parts[1:3]) in light
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
        "fusion_engine.exploration.correlations",
        "fusion_engine.exploration.edit_preview",
        "fusion_engine.tuning.space",
        "fusion_engine.tuning.table",
        "fusion_engine.sharing.html_report",
        "fusion_engine.sharing.snippet",
        "fusion_engine.teaching.shipped_lessons",
    ],
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    code = f"""
import sys, {module}
if {module!r} == "fusion_engine.presets":
    {module}.recipes()
print(sorted({HEAVY | {"distributed", "optuna"}!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["fusion_engine", "pages", "tests", "benchmarks"])
def test_no_folder_is_a_bag(folder: str) -> None:
    for room in [ROOT / folder, *(p for p in (ROOT / folder).rglob("*") if p.is_dir())]:
        assert len(list(room.glob("*.py"))) <= MOST_FILES, f"{room.relative_to(ROOT)} wants rooms"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(paths: list[Path]) -> dict[str, set[str]]:
    """By module the modules among `paths` that it imports; an imported name is its module, or the module itself."""
    modules = {module_name(path) for path in paths}
    graph: dict[str, set[str]] = {}
    for path in paths:
        own = module_name(path)
        named = ((name, name.rpartition(".")[0]) for name in imports(path))
        graph[own] = {next((n for n in pair if n in modules), own) for pair in named} - {own}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of nodes that reach each other (Tarjan's strongly connected components of more than one node)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == order[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def test_no_file_leans_on_one_that_leans_on_it() -> None:
    graph = import_graph([*ENGINE_FILES, *APP])
    assert len(graph) > 200
    assert circles(graph) == []


def folders(graph: dict[str, set[str]], paths: list[Path]) -> dict[str, set[str]]:
    """The same between the folders of the modules, without those inside one another."""
    folder = {module_name(path): ".".join(path.relative_to(ROOT).parts[:-1]) for path in paths}
    arrows: dict[str, set[str]] = {name: set() for name in folder.values()}
    for module, others in graph.items():
        for other in others:
            a, b = folder[module], folder[other]
            if not f"{a}.".startswith(f"{b}.") and not f"{b}.".startswith(f"{a}."):
                arrows[a].add(b)
    return arrows


def test_no_folder_leans_on_one_that_leans_on_it() -> None:
    paths = [*ENGINE_FILES, *APP]
    assert circles(folders(import_graph(paths), paths)) == []


def test_circles_are_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []
