"""recipes: list the named recipes with their citations, or every method a recipe can be made of."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from fusion_engine.presets import recipes

__all__ = ["add_arguments", "methods_help", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--methods", action="store_true", help="list methods and their parameters instead")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print the list."""
    if arguments.methods:
        from fusion_engine.core import registry

        print(json.dumps(registry.catalogue(), indent=1) if arguments.json else methods_help())
        return
    presets = recipes().values()
    if arguments.json:
        print(json.dumps([preset.as_json() for preset in presets], indent=1))
        return
    for preset in presets:
        mapping = preset.recipe.to_mapping()
        steps = [mapping["importance"], mapping["grouping"], mapping["solver"], *mapping["post"]]
        print(f"{preset.name}: {preset.title}")
        print(f"    {' x '.join(step['method'] for step in steps)}")
        print(textwrap.fill(preset.summary, 100, initial_indent="    ", subsequent_indent="    "))
        if preset.citation:
            print(textwrap.fill(preset.citation, 100, initial_indent="    Cite: ", subsequent_indent="    "))
        print()


def methods_help() -> str:
    """Every registered method and parameter, from the methods' own signatures."""
    from fusion_engine.core import registry

    lines = ["methods (set with --set, for example --set grouping=kmeans --set grouping.tries=5):"]
    for kind, methods in registry.catalogue().items():
        lines.append(f"\n  {kind}:")
        for method in methods:
            lines.append(f"    {method['name']}: {method['title']}")
            lines += [f"        {_parameter(parameter)}" for parameter in method["parameters"]]
    return "\n".join(lines)


def _parameter(spec: dict[str, Any]) -> str:
    kind = "|".join(map(str, spec["choices"] or (spec["type"], *spec["words"])))
    return f"{spec['name']} ({kind}, default {spec['default']}): {spec['help']}"
