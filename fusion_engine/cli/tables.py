"""The tables of recipes and methods in README.md and docs/methods.md: written from the registry, never by hand."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fusion_engine.core import registry
from fusion_engine.core.capability import steps
from fusion_engine.core.errors import FusionError
from fusion_engine.presets import needs, recipes
from fusion_engine.store.files import publish

COMMAND = "python -m fusion_engine recipes --write"
_NEEDS = {"class_counts": "class counts", "base": "base model"}
_END = "\n<!-- end -->"


def tables() -> dict[str, dict[str, str]]:
    """By file and by name, the Markdown tables it holds: in short, and with what each recipe and method needs."""
    methods, short, full = registry.catalogue(), [], []
    for preset in recipes().values():
        recipe = preset.recipe.to_mapping()
        made, needed = ", ".join(step["method"] for _, step in steps(recipe)), needs(recipe, methods)
        base = "; needs a base model (`--base`)" if "base model" in needed else ""
        authors = ", ".join(source.split(",")[0].strip() for source in preset.citation.split(";"))
        short.append([f"`{preset.name}`", made + base, authors or "this project"])
        full.append([f"`{preset.name}`", made, needed, preset.citation or "this project"])
    kinds = [[kind, ", ".join(f"`{e['name']}`" for e in entries)] for kind, entries in methods.items()]
    parts = ["### Recipes\n", _table(["recipe", "made of", "needs", "cite"], full)]
    for kind, entries in methods.items():
        rows = [
            [f"`{e['name']}`", e["title"], ", ".join(_NEEDS.get(n, n) for n in e["needs"]) or "nothing", e["citation"]]
            for e in entries
        ]
        parts += [f"\n### Methods: {kind}\n", _table(["method", "title", "needs", "cite"], rows)]
    return {
        "README.md": {
            "recipes": _table(["preset", "recipe", "from"], short), "methods": _table(["part", "methods"], kinds)
        },
        "docs/methods.md": {"recipes and methods": "\n".join(parts)},
    }  # fmt: skip


def read_table(root: Path, file: str, name: str) -> str:
    """The table that stands in a document now. FusionError where there is no such document, or no place in it."""
    try:
        text = (root / file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FusionError(f"there is no {file} here: the tables are written in a copy of the repository") from None
    _, start, rest = text.partition(_start(name))
    table, end, _ = rest.partition(_END)
    if not start or not end:
        raise FusionError(f"{file} has no place for the table of {name}: put {_start(name)!r} and {_END!r} around it")
    return table


def write_tables(root: Path) -> list[str]:
    """Write the tables into the documents under `root`, all or none; returns the files' names. Raises as `read_table`.
    """
    contents = {}
    for file, by_name in tables().items():
        old = {name: read_table(root, file, name) for name in by_name}
        text = (root / file).read_text(encoding="utf-8")
        for name, new in by_name.items():
            text = text.replace(_start(name) + old[name] + _END, _start(name) + new + _END)
        contents[root / file] = text.encode()
    publish(contents)
    return list(tables())


def _start(name: str) -> str:
    return f"<!-- {name}: {COMMAND} -->\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
