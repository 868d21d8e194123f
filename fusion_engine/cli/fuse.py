"""fuse: fuse 2 to 8 parents into one network by a recipe."""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_engine.core.edits import EDITS_LIMIT, Edit, edits_from_text
from fusion_engine.core.errors import RecipeError
from fusion_engine.core.files import atomic_path, check_file
from fusion_engine.core.recipe import Recipe, parse_settings

from .options import add_options
from .output import check_writable, figure, progress_line, table, write_report

if TYPE_CHECKING:
    from fusion_engine.pipeline import FusionResult

_RECIPE_LIMIT = 1024**2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "parents", "--arch", "--weights")
    parser.add_argument("--calibration", required=True, metavar="FILE.npz", help="samples the fusion may look at")
    parser.add_argument("--test", metavar="FILE.npz", help="labelled samples for the report's accuracies")
    parser.add_argument("--base", metavar="FILE", help="what the parents were trained from, for recipes that need it")
    parser.add_argument("--recipe", required=True, metavar="NAME|FILE.yaml", help="see `recipes`")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change the recipe: grouping.tries=5"
    )
    parser.add_argument(
        "--edits", metavar="FILE", help="changes of groups by hand (YAML or JSON), after the recipe's: docs/files.md"
    )
    add_options(parser, "--task", "--samples", "--seed", "--device")
    parser.add_argument("--out", type=Path, metavar="FILE.safetensors", help="where the fused weights go")
    add_options(parser, "--report")
    plain = parser.format_help

    def with_methods() -> str:
        from .recipes import methods_help

        return f"{plain()}\n{methods_help()}\n"

    parser.format_help = with_methods  # type: ignore[method-assign] # only --help pays for loading the methods


def run(arguments: argparse.Namespace) -> None:
    """Fuse, then write weights and report together."""
    recipe = read_recipe(arguments.recipe).set(parse_settings(arguments.set))
    if arguments.edits is not None:
        recipe = recipe.with_edits([*recipe.edits, *read_edits_file(arguments.edits)])
    check_writable(arguments.out, arguments.report)
    started = time.perf_counter()
    from fusion_engine.data import load_data
    from fusion_engine.jobs.inputs import draw_samples
    from fusion_engine.jobs.service.warm import warm_tracing
    from fusion_engine.parents import load_base, load_parents, write_state
    from fusion_engine.pipeline import fuse

    given = load_data(arguments.calibration, y_required=False, task=arguments.task)
    calibration = draw_samples(given, arguments.samples, arguments.seed)
    parents = load_parents(
        arguments.parents, arguments.arch, input_shape=calibration.input_shape, tokens=calibration.tokens,
        weights=arguments.weights,
    )
    base = load_base(arguments.base, parents)
    test = None if arguments.test is None else load_data(arguments.test, task=arguments.task)
    warm_tracing()
    seconds = time.perf_counter() - started
    with progress_line() as progress:
        result = fuse(
            parents, calibration, recipe, seed=arguments.seed, test=test, on_progress=progress, device=arguments.device,
            base=base,
        )
    result.report["seconds"]["load"] = round(seconds, 4)
    # The engine, which knows only parents, has put the parents' names where their files' belong.
    entries = result.report.setdefault("parents", [{} for _ in parents])
    names = {entry.get("file"): Path(file).name for entry, file in zip(entries, arguments.parents, strict=True)}
    for entry, file in zip(entries, arguments.parents, strict=True):
        entry["file"] = Path(file).name
    if "best_parent" in result.report:
        result.report["best_parent"]["file"] = names[result.report["best_parent"]["file"]]
    with nullcontext() if arguments.out is None else atomic_path(arguments.out) as path:
        if path is not None:
            write_state(path, result.file_state(), result.metadata())
        write_report(arguments.report, result.report)
    print(summary(result))


def read_recipe(given: str) -> Recipe:
    """The preset, or the recipe in a .yaml file."""
    from fusion_engine.presets import get_preset

    if given.endswith((".yaml", ".yml")):
        return Recipe.from_yaml(_text(check_file(given, _RECIPE_LIMIT, RecipeError)))
    return get_preset(given).recipe


def read_edits_file(given: str) -> tuple[Edit, ...]:
    """The edits in a YAML or JSON file."""
    path = check_file(given, EDITS_LIMIT, RecipeError)
    return edits_from_text(_text(path), path.name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path.name}: not a text file") from None


def summary(result: FusionResult) -> str:
    """The report in a few lines."""
    report = result.report
    metric = report.get("task", {}).get("metric", "accuracy")
    rows: list[tuple[str, str]] = [(p["file"], figure(p, metric)) for p in report["parents"] if "loss" in p]
    for name in ("average", "ensemble", "softmax_ensemble", "fused"):
        if "loss" in report.get(name, {}):
            rows.append((name.replace("_", " "), figure(report[name], metric)))
    lines = [table(("model", metric), rows)] if rows else []
    lines.append(f"fused in {report['seconds']['total']:.2f} s with recipe {report['recipe']['name']}")
    return "\n".join([*lines, *(f"note: {line}" for line in report["warnings"])])
