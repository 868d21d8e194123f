"""analyse: similarity, connectivity and class coverage of parents, and the error budget of a fusion."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import add_options
from .output import check_writable, progress_line, table, write_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fusion_engine.analysis.shapes import Analysis

_MEASURES = {
    "cka": "CKA", "svcca": "SVCCA", "cca": "mean CCA", "distance_correlation": "distance",
    "partial_distance_correlation": "partial",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "parents", "--arch", "--weights")
    parser.add_argument("--data", required=True, metavar="FILE.npz", help="samples; all but similarity needs labels")
    fused = parser.add_mutually_exclusive_group()
    fused.add_argument("--fused", type=Path, metavar="FILE.safetensors", help="a network fused from these parents")
    fused.add_argument("--run", type=Path, metavar="DIR", dest="folder", help="the folder of a fusion's run")
    parser.add_argument(
        "--what", metavar="NAME,...", help="some of coverage, similarity, connectivity, budget (default: all possible)"
    )
    parser.add_argument(
        "--align", default="balanced", metavar="GROUPING", help="pairs neurons for the aligned paths (balanced)"
    )
    parser.add_argument("--samples", type=int, metavar="N", help="draw N samples, balanced over classes (default: all)")
    add_options(parser, "--seed", "--device", "--report")


def run(arguments: argparse.Namespace) -> None:
    """Analyse, print tables, write the report."""
    check_writable(arguments.report)
    from fusion_engine.analysis import analyse
    from fusion_engine.data import load_data
    from fusion_engine.jobs.fusions import fused_of_file, fused_of_folder
    from fusion_engine.jobs.inputs import draw_samples
    from fusion_engine.parents import load_parent, load_parents, settled

    what = None if arguments.what is None else [name.strip() for name in arguments.what.split(",") if name.strip()]
    data = draw_samples(load_data(arguments.data, y_required=False), arguments.samples, arguments.seed)
    arch, weights = arguments.arch, arguments.weights
    if len(arguments.parents) > 1:
        parents = load_parents(
            arguments.parents, arch, input_shape=data.input_shape, tokens=data.tokens, weights=weights
        )
    else:
        parents = [
            load_parent(
                arguments.parents[0], arch, input_shape=data.input_shape, tokens=data.tokens, weights=weights
            )
        ]
    parents, _ = settled(parents, data)  # a fused file says how its parents were read
    fused = None
    if arguments.folder is not None:
        fused = fused_of_folder(arguments.folder, parents, arguments.arch)
    elif arguments.fused is not None:
        fused = fused_of_file(arguments.fused, parents, arguments.arch)
    with progress_line() as progress:
        report = analyse(
            parents, data, fused=fused, what=what, align=arguments.align, seed=arguments.seed,
            device=arguments.device, on_progress=progress,
        )  # fmt: skip
    write_report(arguments.report, report)
    print(summary(report))


def summary(report: Analysis) -> str:
    """The report as tables."""
    spent = f"analysed {report['samples']:,} samples in {report['seconds']['total']:.1f} s"
    parts = [
        _coverage(report["coverage"], report["parents"]) if "coverage" in report else "",
        _similarity(report["similarity"]["spaces"], report["parents"]) if "similarity" in report else "",
        _connectivity(report["connectivity"]) if "connectivity" in report else "",
        _budget(report["budget"]) if "budget" in report else "",
        "\n".join([spent, *(f"note: {line}" for line in report["notes"])]),
    ]
    return "\n\n".join(part for part in parts if part)


def _coverage(found: dict[str, Any], names: Sequence[str]) -> str:
    rows = [(p["name"], *map(_percent, [p["accuracy"], *p["per_class"]])) for p in found["parents"]]
    rows.append(("best parent", "", *("-" if best is None else names[best] for best in found["best"])))
    fused = found["fused"]
    if fused is not None:
        rows.append(("fused", *map(_percent, [fused["accuracy"], *fused["per_class"]])))
    classes = range(len(found["best"]))
    lines = ["class coverage: accuracy of each class", table(("network", "all", *map(str, classes)), rows)]
    for p, name in enumerate(names):
        only = [str(c) for c in classes if found["only"][c] == p]
        if only:
            lines.append(f"only {name} knows class {', '.join(only)}")
    if found["unknown"]:
        lines.append(f"no parent knows class {', '.join(map(str, found['unknown']))}")
    if fused is not None:
        kept = [f"{_percent(share)} of {name}" for share, name in zip(fused["kept"], names, strict=True)]
        lines.append(f"right answers that the fused network keeps: {', '.join(kept)}")
    return "\n".join(lines)


def _similarity(spaces: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    pairs = [(p, q) for p in range(len(names)) for q in range(p + 1, len(names))]
    if not spaces or not pairs:
        return ""
    shown = [m for m in _MEASURES if m in spaces[0]["measures"]]
    rows = [
        (space["name"], names[p], names[q], *(f"{space['measures'][m][p][q]:.3f}" for m in shown))
        for space in spaces for p, q in pairs
    ]
    head = ("space", "parent", "parent", *(_MEASURES[m] for m in shown))
    return f"similarity of features, 1 is alike\n{table(head, rows)}"


def _connectivity(found: dict[str, Any]) -> str:
    if not found["pairs"]:
        return ""
    rows, levels = [], []
    for pair in found["pairs"]:
        for kind, how in (("as_is", "as they are"), ("aligned", f"aligned by {found['align']}")):
            path = pair[kind]
            middle = path["accuracy"][len(path["accuracy"]) // 2]
            numbers = (f"{path['barrier']:.3f}", f"{100 * path['error_barrier']:.1f}", _percent(middle))
            rows.append((pair["first"], pair["second"], how, *numbers))
            for level in path["levels"]:
                cost = [f"{100 * level[part]['error_barrier']:.1f}" for part in ("single", "cumulative")]
                levels.append((pair["first"], pair["second"], how, level["name"], *cost))
    head = ("from", "to", "neurons", "loss barrier", "error barrier, points", "accuracy half-way")
    level_head = ("from", "to", "neurons", "level", "this level alone", "levels up to it")
    return "\n".join([
        "linear mode connectivity: how far the straight line rises above its ends", table(head, rows), "",
        "points of accuracy that averaging costs, level by level, against the mean of both ends",
        table(level_head, levels),
    ])  # fmt: skip


def _budget(found: dict[str, Any]) -> str:
    rows = [
        (
            level["name"], _percent(found["ensemble"]["accuracy"]), _percent(level["grouped"]["accuracy"]),
            _percent(level["fused"]["accuracy"]), f"{100 * level['grouping_loss']:.1f}",
            f"{100 * level['approximation_loss']:.1f}",
        )
        for level in found["levels"]
    ]  # fmt: skip
    head = ("after level", "ensemble", "merged features", "fused features", "grouping loss", "approximation loss")
    title = f"error budget: parents go on from merged and from fused features (head weights: {found['head_weights']})"
    return f"{title}\n{table(head, rows)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"

