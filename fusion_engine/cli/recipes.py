"""recipes: list the named recipes with their citations, or every method a recipe can be made of."""

import argparse
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fusion_engine
from fusion_engine import store
from fusion_engine.core import registry
from fusion_engine.core.capability import steps
from fusion_engine.core.errors import FusionError
from fusion_engine.presets import needs, recipes
from fusion_engine.store import PastRuns

from .tables import write_tables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", action="store_true", help="list methods and their parameters instead")
    parser.add_argument("--runs", action="store_true", help="say how each recipe did in the fusions made in the app")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", action="store_true", help="write the tables of README.md and docs/methods.md anew")


def run(arguments: argparse.Namespace) -> None:
    """Print the list."""
    if arguments.write:
        print(f"wrote the tables of {' and '.join(write_tables(Path(fusion_engine.__file__).parents[1]))}")
        return
    if arguments.methods:
        print(json.dumps(registry.catalogue(), indent=1) if arguments.json else methods_help())
        return
    methods = registry.catalogue()
    past = store.past_runs() if arguments.runs else []
    entries = []
    for preset in recipes().values():
        entry = preset.as_json()
        entry["needs"] = needs(entry["recipe"], methods)
        if arguments.runs:
            own = [p for p in past if p.recipe == preset.name]
            entry["runs"] = [asdict(p) | {"parents_name": _name(store.read_parents_summary, p.parents)} for p in own]
        entries.append(entry)
    if arguments.json:
        print(json.dumps(entries, indent=1))
        return
    for entry in entries:
        _show(entry, [p for p in past if p.recipe == entry["name"]])


def _show(entry: dict[str, Any], past: Sequence[PastRuns]) -> None:
    print(f"{entry['name']}: {entry['title']}")
    print(f"    {' x '.join(step['method'] for _, step in steps(entry['recipe']))}")
    for label, text in (("", entry["summary"]), ("Needs: ", entry["needs"]), ("Cite: ", entry["citation"])):
        if text:
            print(textwrap.fill(text, 100, initial_indent=f"    {label}", subsequent_indent="    "))
    for runs in past:
        parents, test = _name(store.read_parents_summary, runs.parents), _name(store.read_data_summary, runs.test)
        print(
            f"    On {parents}: best {runs.best:.2%}, last {runs.last:.2%} in {runs.seconds:.2f} s "
            f"({runs.runs} {'run' if runs.runs == 1 else 'runs'}, tested on {test})"
        )
    print()


def _name(read: Callable[[str], Mapping[str, Any]], key: str) -> str:
    """The name in the summary of a parent set or data set; the key itself where it is built in, or gone."""
    try:
        return str(read(key)["name"])
    except FusionError:
        return key


def methods_help() -> str:
    """Every registered method and parameter, from the methods' own signatures."""
    lines = ["methods (set with --set, for example --set grouping=kmeans --set grouping.tries=5):"]
    for kind, methods in registry.catalogue().items():
        lines.append(f"\n  {kind}:")
        for method in methods:
            lines.append(f"    {method['name']}: {method['title']}")
            lines += [f"        {_parameter(parameter)}" for parameter in method["parameters"]]
    return "\n".join(lines)


def _parameter(spec: dict[str, Any]) -> str:
    kind = "|".join(map(str, spec["choices"] or (spec["type"], *spec["words"])))
    single = f"; of one space: {spec['name']}.SPACE" if spec["by_space"] else ""
    return f"{spec['name']} ({kind}, default {spec['default']}): {spec['help']}{single}"
