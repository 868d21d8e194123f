"""Every preset on equal terms: the leaderboard on networks of three kinds.

    python benchmarks/methods.py [--data ../shared/data] [--rows mnist,resnet20-2,...] [--seeds 0,1,2] [--slow]

mnist: the parents published with the neuron interpolation paper, beside what the code published with each method scores
on them (accuracy over three seeds, seconds, two CPU cores). resnet20-K: K parents trained in the full regime; vgg11-K:
K parents of quarter width on non-IID shares; both are those of benchmarks/architectures.py, which trains them once.
Presets that train weights are left out unless --slow is given. Every row runs in a process of its own.
Prints a table a row and writes benchmarks/results/methods.json.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from _inputs import balanced, cifar10, published_mnist
from _running import names, numbers, parser, print_table, read_results, run_alone, write_results
from architectures import CALIBRATION, parents_of

# Row -> network of architectures.py, regime, number of parents.
ROWS: dict[str, tuple[str, str, int] | None] = {
    "mnist": None,
    "resnet20-2": ("resnet20", "full", 2),
    "resnet20-4": ("resnet20", "full", 4),
    "vgg11-2": ("vgg11 / 4", "non_iid", 2),
    "vgg11-4": ("vgg11 / 4", "non_iid", 4),
}
# Preset and importance -> accuracy in % and seconds of the published code on the parents of `mnist`.
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "hf_linear": {"uniform": (91.76, 0.43), "conductance": (94.36, 0.56), "deeplift": (94.43, 0.51)},
    "kf_linear": {"uniform": (92.6, 2.8), "conductance": (94.8, 3.0), "deeplift": (94.8, 3.0)},
    "kf_gradient": {"uniform": (91.1, 1.0), "conductance": (91.0, 1.1), "deeplift": (91.0, 1.1)},
    "ot_fusion": {"uniform": (87.97, 0.02), "conductance": (89.08, 0.15), "deeplift": (89.09, 0.06)},
    "git_rebasin_activations": {"uniform": (90.34, 0.17), "conductance": (83.88, 0.30), "deeplift": (83.60, 0.22)},
}
EPOCHS = 5


def inputs_of(row: str, folder: Path) -> tuple[list[Any], Any, Any]:
    """Parents, calibration and test data."""
    network = ROWS[row]
    if network is None:
        return published_mnist(folder)
    train, test = cifar10(folder)
    return parents_of(*network, EPOCHS, train), balanced(train, CALIBRATION), test


def board_of(row: str, folder: Path, seeds: list[int], slow: bool) -> dict[str, Any]:
    """One row's leaderboard; the published methods on `mnist` with every importance that was published."""
    from fusion_engine import recipes
    from fusion_engine.jobs.service.warm import warm_tracing
    from fusion_engine.leaderboard import leaderboard, standings
    from fusion_engine.stats import StatisticsCache

    parents, data, test = inputs_of(row, folder)
    presets = [name for name, preset in recipes().items() if slow or "gradients" not in preset.recipe.solving_needs]
    warm_tracing()

    def report(found: dict[str, Any]) -> None:
        result = f"{found['accuracy']:.2%}" if "accuracy" in found else found.get("reason", "")
        print(row, found.get("preset", ""), found.get("importance", ""), found.get("seed", ""), result, file=sys.stderr)

    cache = StatisticsCache()
    board = leaderboard(parents, data, test, presets, seeds=seeds, cache=cache, on_row=report)
    if row == "mnist":
        known = [preset for preset in PUBLISHED if preset in presets]
        more = leaderboard(
            parents, data, test, known, ["uniform", "conductance", "deeplift"], seeds, cache=cache,
            done=board["rows"], on_row=report,
        )  # fmt: skip
        both = {found["key"]: found for found in [*board["rows"], *more["rows"]]}
        plan = [found for found in both.values() if "preset" in found]
        board = standings(plan, list(both.values())) | {"rows": list(both.values())}
    return {"row": row, "samples": len(data), "seeds": seeds, **board}


def show(board: dict[str, Any]) -> None:
    """The board as a Markdown table; references in between, what could not run below."""
    with_published = board["row"] == "mnist"
    columns = ["recipe", "importance", "accuracy %", "spread", "s", "s spent", "MB"]
    columns += ["s untraced", "published %, s"] if with_published else []
    print(f"\n**{board['row']}**, {len(board['parents'])} parents, seeds {board['seeds']}\n")
    lines: list[tuple[float, list[str]]] = []
    for entry in board["entries"]:
        accuracy = entry["accuracy"]
        if accuracy is None:
            continue
        published = PUBLISHED.get(entry["preset"], {}).get(entry["importance"]) if with_published else None
        name = f"**{entry['preset']}**" if entry["pareto"] else entry["preset"]
        cells = [name, entry["importance"], f"{100 * accuracy['mean']:.2f}", f"{100 * accuracy['std']:.2f}"]
        cells += [f"{entry['seconds']:.2f}", f"{entry['spent']:.2f}", f"{entry['peak_memory_mb']:.0f}"]
        if with_published:
            untraced = statistics.median(_untraced(row) for row in board["rows"] if row["key"] in entry["keys"])
            cells += [f"{untraced:.3f}", f"{published[0]:.2f}, {published[1]:.2f}" if published else ""]
        lines.append((accuracy["mean"], cells))
    for reference in board["references"]:
        name = f"({reference['name'].replace('_', ' ')})"
        cells = [name, "", f"{100 * reference['accuracy']:.2f}", *[""] * (len(columns) - 3)]
        lines.append((reference["accuracy"], cells))
    print_table(columns, [cells for _, cells in sorted(lines, key=lambda line: -line[0])])
    for entry in board["entries"]:
        if entry["accuracy"] is None:
            print(f"\n- {entry['label']}: {entry['reason']}", end="")
    print("\n\nBold: no other is both faster and more accurate.")


def _untraced(row: dict[str, Any]) -> float:
    """Seconds of a fusion but for tracing the network and verifying the trace, which published code has no need of: it
    is written for one network."""
    stages = [row["seconds"][stage] for stage in ("trace", "verify")]
    shared = [part["seconds"] for part in row["shared"] if part["stage"] in ("trace", "verify")]
    return float(row["cost"] - sum(stages) - sum(shared))


def main() -> None:
    """Run the rows one after another, each in its own process."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=names, default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    arguments.add_argument("--seeds", type=numbers, default="0,1,2")
    arguments.add_argument("--slow", action="store_true", help="presets that train weights as well")
    options = arguments.parse_args()
    if options.alone:
        print(json.dumps(board_of(options.alone, options.data, options.seeds, options.slow)))
        return
    boards = read_results("methods")
    for row in options.rows:
        boards[row] = run_alone(row)
        show(boards[row])
        write_results("methods", boards)


if __name__ == "__main__":
    main()
