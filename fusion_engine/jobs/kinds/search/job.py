"""Job search: a recipe's parameters with the smallest held-out loss, a trial a part, one after the other. Loads nothing
heavy until it plans or fuses: the scheduler records failures through it.

The run's folder holds search.json (the table of the trials so far) and trials.log (Optuna's journal: they themselves).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_engine import store
from fusion_engine.core.errors import FusionError, JobError
from fusion_engine.core.progress import Progress, ProgressEvent
from fusion_engine.store.files import read_json, write_json
from fusion_engine.tuning.table import budget_left, budget_share, failed_trial, search_table

if TYPE_CHECKING:
    from fusion_engine.tuning.inputs import SearchInputs
    from fusion_engine.tuning.plan import SearchPlan

_TABLE, _DIED = "search.json", "died.json"


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Check what is asked for, and write the table: empty, or of a search that goes on, with the trials it has."""
    from fusion_engine.tuning.history import read_trials

    progress.part(0.0, 1.0, "plan").report(0.0, "Reading parents and data")
    inputs = _read_inputs(arguments)
    progress.part(0.0, 1.0, "plan").report(0.0, "Checking what can be searched")
    plan = _read_plan(arguments, inputs)
    write_json(folder / _TABLE, search_table(plan.as_json(), read_trials(folder.parent)))


def pending(run: str) -> list[str]:
    """The number of the next trial; of a search whose end alone is missing that of its last one."""
    if store.read_status(run)["state"] in store.FINISHED:
        return []
    table = store.read_search(run)
    done = len(table["trials"])
    return [str(done if budget_left(table["budget"], table["trials"]) else max(0, done - 1))]


def run_part(run: str, part: str, progress: Progress) -> None:
    """Do the next trial and record it; the one that uses up the budget ends the run."""
    try:
        _next_trial(run, progress)
    except FusionError as error:  # such as a full disk: it would be met again at once
        store.end_run(run, "failed", f"{error}; resume goes on from the last trial")


def _next_trial(run: str, progress: Progress) -> None:
    from fusion_engine.tuning.history import History
    from fusion_engine.tuning.trial import run_trial

    from ...statistics import statistics

    folder, budget = store.run_folder(run), store.read_search(run)["budget"]
    inputs, plan = _prepared(run, str(folder))
    with History(plan, folder) as history:
        trials = history.trials
        share = budget_share(budget, trials)
        name = f"trial {len(trials) + 1} of {budget['trials']}"
        at_trial = progress.part(share, share, "search")

        def report(event: ProgressEvent) -> None:
            at_trial.report(0.0, f"{name}: {event.message}")

        at_trial.report(0.0, f"{name}: starting")
        if budget_left(budget, trials):
            settings, died = history.ask(), _died(folder, len(trials))
            if died is None:
                trial = run_trial(inputs, plan, settings, trials, cache=statistics(), on_progress=report)
            else:
                trial = failed_trial(len(trials), settings, died)
            at_trial.report(0.0, f"{name}: recording")  # a run cancelled meanwhile gets no more trials
            history.tell(trial)
            trials.append(trial)
        write_json(folder / _TABLE, search_table(plan.as_json(), trials))
    if not budget_left(budget, trials) and store.end_run(run, "done"):
        _prepared.cache_clear()


def part_failed(run: str, part: str, reason: str) -> None:
    """A trial brought its worker down: the run fails. Resumed, it leaves that trial out and goes on."""
    write_json(store.run_folder(run) / _DIED, {"trial": int(part), "reason": reason})
    store.end_run(run, "failed", f"trial {int(part) + 1}: {reason}; resume goes on without it")


def _died(folder: Path, number: int) -> str | None:
    """Why this trial's worker died in an earlier attempt; None if none did."""
    with contextlib.suppress(Exception):
        written = read_json(folder / _DIED, "the failure of a trial")
        return str(written["reason"]) if written["trial"] == number else None
    return None


@functools.lru_cache(maxsize=1)
def _prepared(run: str, folder: str) -> tuple[SearchInputs, SearchPlan]:
    """What the trials of a run have in common, read once by each worker."""
    arguments = store.read_job(run)["arguments"]
    inputs = _read_inputs(arguments)
    return inputs, _read_plan(arguments, inputs)


def _read_inputs(arguments: Mapping[str, Any]) -> SearchInputs:
    from fusion_engine.parents import check_parents, load_base
    from fusion_engine.tuning.inputs import search_inputs

    from ...inputs import read_base, read_data, read_parents, whole_number

    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    samples = arguments.get("samples") and whole_number(arguments, "samples", 0, 1, 10**9)
    data = read_data(arguments["data"], samples, seed)
    test = read_data(arguments["test"], y_required=True) if arguments.get("test") else None
    held = read_data(arguments["held_out"]) if arguments.get("held_out") else None
    parents = read_parents(arguments["parents"])
    check_parents(parents)
    base = load_base(read_base(arguments["base"]), parents) if arguments.get("base") else None
    device = arguments.get("device") or "cpu"
    return search_inputs(parents, data, held, test=test, seed=seed, device=device, base=base)


def _read_plan(arguments: Mapping[str, Any], inputs: SearchInputs) -> SearchPlan:
    from fusion_engine.tuning.plan import make_plan

    dimensions, seconds, trials = (arguments.get(name) for name in ("dimensions", "seconds", "trials"))
    if dimensions is not None and not isinstance(dimensions, dict | list):
        raise JobError("dimensions must be a list of paths, or paths with ranges or choices")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        raise JobError(f"seconds must be a number, not {seconds!r}")
    return make_plan(
        inputs, arguments["recipe"], dimensions, trials=30 if trials is None else trials, seconds=seconds,
        seed=arguments.get("seed") or 0,
    )
