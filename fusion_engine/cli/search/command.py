"""The command itself: what is asked for, a line a trial, the best recipe."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_engine.core.errors import FusionError
from fusion_engine.core.files import atomic_path
from fusion_engine.core.recipe import Recipe, parse_settings
from fusion_engine.tuning.space import parse_dimension

from ..fuse import read_recipe
from ..options import add_options
from ..output import check_writable, figure, progress_line, table, write_report

if TYPE_CHECKING:
    from fusion_engine.tuning.inputs import SearchInputs
    from fusion_engine.tuning.shapes import SearchTable, Trial

_SHOWN = 10  # trials in the table at the end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "parents", "--arch", "--weights")
    parser.add_argument(
        "--data", "--calibration", dest="calibration", required=True, metavar="FILE.npz",
        help="samples the fusions may look at; a part of them is held out",
    )
    parser.add_argument(
        "--held-out", default="0.25", metavar="FILE.npz|SHARE",
        help="labelled samples that judge the trials, or the share of --data that is held out for it (0.25)",
    )
    parser.add_argument("--test", metavar="FILE.npz", help="labelled samples measured beside; they choose nothing")
    parser.add_argument("--base", metavar="FILE", help="what the parents were trained from, for recipes that need it")
    parser.add_argument("--recipe", required=True, metavar="NAME|FILE.yaml", help="see `recipes`")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change the recipe first")
    parser.add_argument(
        "--tune", action="append", metavar="PATH[=LOW:HIGH|=A,B]",
        help="a parameter to search, as its method declares it or in this range or of these choices; give it again for "
        "more (default: all of the recipe's but those for experts)",
    )
    parser.add_argument("--trials", type=int, default=30, metavar="N", help="most fusions (default 30)")
    parser.add_argument("--seconds", type=float, metavar="S", help="most seconds of all trials (default: no limit)")
    add_options(parser, "--task", "--samples", "--seed", "--device")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the trials and best.yaml")
    parser.add_argument("--resume", action="store_true", help="go on with the search in --out")
    parser.add_argument("--best", type=Path, metavar="FILE.yaml", help="where the best recipe goes")
    add_options(parser, "--report")


def run(arguments: argparse.Namespace) -> None:
    """Search what is left of the budget, write the best recipe, print the table."""
    check_writable(arguments.report, arguments.best)
    if arguments.resume and arguments.out is None:
        raise FusionError("--resume: say with --out which folder has the search")
    recipe = read_recipe(arguments.recipe).set(parse_settings(arguments.set))
    given = None if arguments.tune is None else dict(map(parse_dimension, arguments.tune))
    from fusion_engine.stats import StatisticsCache
    from fusion_engine.tuning.plan import make_plan
    from fusion_engine.tuning.running import run_search

    inputs = _read(arguments)
    plan = make_plan(
        inputs, recipe, given, trials=arguments.trials, seconds=arguments.seconds, seed=arguments.seed
    )
    folder: Path | None = arguments.out
    try:
        with progress_line() as progress:
            found = run_search(
                inputs, plan, cache=StatisticsCache(None if folder is None else folder / "shared"), folder=folder,
                resume=arguments.resume, on_trial=_tell, on_progress=progress,
            )
    except KeyboardInterrupt:
        kept = "the same --out with --resume goes on where it stopped" if folder else "nothing was written"
        print(f"interrupted; {kept}", file=sys.stderr)
        raise SystemExit(130) from None
    best = None if found["best_recipe"] is None else Recipe.from_mapping(found["best_recipe"]).to_yaml()
    for path in (arguments.best, None if folder is None else folder / "best.yaml"):
        if path is not None and best is not None:
            with atomic_path(path) as temporary:
                temporary.write_text(best, encoding="utf-8")
    write_report(arguments.report, found)
    print(text(found))
    where = arguments.best or (None if folder is None else folder / "best.yaml")
    if where is not None and best is not None:
        print(f"fuse by it: {_fuse_command(arguments, where)}")


_USUAL = {"arch": "auto", "weights": None, "task": "auto", "base": None, "device": "cpu", "samples": None}
"""Options that the fuse command has as well, and their defaults."""


def _fuse_command(arguments: argparse.Namespace, recipe: Path) -> str:
    given = [(name, getattr(arguments, name)) for name in _USUAL if getattr(arguments, name) != _USUAL[name]]
    words = [*arguments.parents, "--calibration", arguments.calibration]
    words += [word for name, value in given for word in (f"--{name}", str(value))]
    words += ["--recipe", str(recipe), "--seed", str(arguments.seed), "--out", "fused.safetensors"]
    return shlex.join(["python", "-m", "fusion_engine", "fuse", *words])


def _read(arguments: argparse.Namespace) -> SearchInputs:
    from fusion_engine.data import load_data
    from fusion_engine.jobs.inputs import draw_samples
    from fusion_engine.jobs.service.warm import warm_tracing
    from fusion_engine.parents import load_base, load_parents
    from fusion_engine.tuning.inputs import search_inputs

    task, held = arguments.task, arguments.held_out
    data = load_data(arguments.calibration, y_required=False, task=task)
    data = draw_samples(data, arguments.samples, arguments.seed)
    try:
        share: Any = float(held)
    except ValueError:
        share = load_data(held, task=task)
    if isinstance(share, float) and not 0 < share < 1:
        raise FusionError(f"--held-out {held}: give a share between 0 and 1, or a file")
    parents = load_parents(
        arguments.parents, arguments.arch, input_shape=data.input_shape, tokens=data.tokens, weights=arguments.weights
    )
    base = load_base(arguments.base, parents)
    test = None if arguments.test is None else load_data(arguments.test, task=task)
    warm_tracing()
    return search_inputs(parents, data, share, test=test, seed=arguments.seed, device=arguments.device, base=base)


def _tell(trial: Trial) -> None:
    """One line a trial, as it is done."""
    outcome = trial["reason"] if trial["loss"] is None else f"held-out loss {trial['loss']:.4f}"
    again = "" if trial["same_as"] is None else f", as trial {trial['same_as'] + 1}"
    sys.stderr.write(f"trial {trial['number'] + 1}: {outcome}{again} ({settings_text(trial['settings'])})\n")
    sys.stderr.flush()


def settings_text(settings: Mapping[str, Any]) -> str:
    """'solver.ridge=0.01, grouping.tries=5'."""
    return ", ".join(f"{path}={value}" for path, value in settings.items()) or "the recipe as given"


def text(found: SearchTable) -> str:
    """The best trials as a table, and what is to be known of it."""
    metric = found["metric"]
    done = sorted((t for t in found["trials"] if t["loss"] is not None), key=lambda t: (t["loss"], t["number"]))
    tested = any(trial["test"] for trial in done)
    head = ("trial", "held-out loss", f"held-out {metric}", *([f"test {metric}"] if tested else []), "settings")
    rows = []
    for trial in done[:_SHOWN]:
        shown = [figure(_flat(trial["held_out"]), metric)] + ([figure(_flat(trial["test"]), metric)] if tested else [])
        rows.append((trial["number"] + 1, f"{trial['loss']:.4f}", *shown, settings_text(trial["settings"])))
    failed = len(found["trials"]) - len(done)
    ended = f"{len(found['trials'])} of {found['budget']['trials']} trials in {found['spent']:.1f} s"
    lines = [table(head, rows)] if rows else ["no trial could be fused"]
    reasons = dict.fromkeys(trial["reason"] for trial in found["trials"] if trial["loss"] is None)
    lines += [f"{failed} failed: {next(iter(reasons))}"] if failed else []
    return "\n".join([*lines, ended, *(f"note: {line}" for line in found["notes"])])


def _flat(measured: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {} if measured is None else {**measured, **measured["others"]}
