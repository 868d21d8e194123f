"""How the benchmarks run: their options, a process of its own for each part, tables, and where results go."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def parser(text: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark; `text` says what it is. --alone: the part that this process is to measure."""
    options = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("FUSION_TEST_DATA", ROOT.parent / "shared" / "data")
    options.add_argument("--data", type=_folder, default=str(data))
    options.add_argument("--alone", help=argparse.SUPPRESS)
    return options


def _folder(name: str) -> Path:
    if not Path(name).is_dir():
        sys.exit(f"no folder {name}: give the folder with the parents and data by --data")
    return Path(name)


def names(text: str) -> list[str]:
    """'a,b' as an option's list of names."""
    return text.split(",")


def numbers(text: str) -> list[int]:
    """'1,2' as an option's list of numbers."""
    return [int(number) for number in names(text)]


def run_alone(part: str) -> Any:
    """What this script prints as JSON when it is run with --alone `part`, in a process of its own."""
    command, environment = [sys.executable, *sys.argv, "--alone", part], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{part} failed")
    return json.loads(done.stdout.splitlines()[-1])


def read_results(name: str) -> dict[str, Any]:
    """What earlier runs wrote; nothing at first."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write_results(name: str, results: Any) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1))


def line(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table."""
    print("\n".join([line(columns), "|---" * len(columns) + "|", *map(line, rows)]))
