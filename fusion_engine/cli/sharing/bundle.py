"""bundle: a project in one file, exported from this store (FUSION_HOME) or imported into it."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..output import check_writable, progress_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="what", required=True, metavar="export|import")
    out = commands.add_parser("export", help="write a bundle of runs with their parents and data")
    out.add_argument("file", type=Path, metavar="FILE.zip", help="where the bundle goes")
    out.add_argument("--parents", metavar="ID", help="a parent set: all of its finished runs go along")
    out.add_argument("--runs", nargs="+", metavar="ID", help="these runs alone")
    out.add_argument("--without-parents", action="store_true", help="name parents by digest, without their weights")
    out.add_argument("--without-data", action="store_true", help="name data sets by digest, without their samples")
    given = commands.add_parser("import", help="bring a bundle into the store; it is read as hostile input")
    given.add_argument("file", type=Path, metavar="FILE.zip")


def run(arguments: argparse.Namespace) -> None:
    """Export or import, and say what."""
    from fusion_engine.jobs.bundle import export_bundle, import_bundle

    with progress_line() as progress:
        if arguments.what == "export":
            check_writable(arguments.file)
            manifest = export_bundle(
                arguments.file, arguments.parents, arguments.runs, with_parents=not arguments.without_parents,
                with_data=not arguments.without_data, on_progress=progress,
            )
            line = f"{arguments.file}: {_counted(manifest)}"
        else:
            found = import_bundle(arguments.file, on_progress=progress)
            line = f"imported {_counted(found)}; {len(found['there'])} were there already"
    print(line)


def _counted(found: Mapping[str, Any]) -> str:
    named = {"runs": "run", "parents": "parent set", "data": "data set"}
    counts = {word: len(found[key]) for key, word in named.items()}
    return ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for word, number in counts.items())
