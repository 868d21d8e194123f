"""inspect: show the spaces and levels of parents, and verify that their neurons can be exchanged."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from fusion_engine.core.errors import FusionError

from .options import add_options
from .output import progress_line, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "parents", "--arch")
    parser.add_argument("--input-shape", type=_shape, metavar="3,32,32", help="shape of one sample, if not known")
    parser.add_argument("--seed", type=int, default=0, help="seed of the permutations (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print the preflight. FusionError (after printing) where the parents cannot be fused."""
    from fusion_engine.jobs.kinds.preflight import inspect
    from fusion_engine.parents import load_parent

    parents = [load_parent(path, arguments.arch, input_shape=arguments.input_shape) for path in arguments.parents]
    with progress_line() as progress:
        found = inspect(parents, arguments.input_shape, arguments.seed, progress)
    if arguments.json:
        print(json.dumps(found, indent=1))
    elif found["spaces"]:
        print(_text(found))
    if found["error"] is not None:
        raise FusionError(found["error"])


def _text(found: Mapping[str, Any]) -> str:
    level_of = {level["index"]: level["name"] for level in found["levels"]}
    spaces = [
        (s["name"], s["size"], s["freedom"], level_of.get(s["level"], "-"), len(s["members"])) for s in found["spaces"]
    ]
    levels = [(v["index"], v["name"], ", ".join(v["layers"]) or "-", len(v["tensors"])) for v in found["levels"]]
    parts = [
        f"{len(spaces)} spaces of interchangeable neurons",
        table(("space", "neurons", "freedom", "level", "members"), spaces),
        f"{len(levels)} levels, each a sub-network with one tensor in and one out",
        table(("level", "name", "layers", "tensors"), levels),
        *(f"note: {line}" for line in found["warnings"]),
        _verified(found) if found["ok"] else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _verified(found: Mapping[str, Any]) -> str:
    worst = max(found["verify"].values(), default=0.0)
    return (
        f"verified: with all neurons in random order the outputs change by {worst:.1e} "
        f"(with other inputs by {found['sensitivity']:.1e})"
    )


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape; write 3,32,32")
    return shape
