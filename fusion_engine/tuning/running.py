"""A search from its first trial to the end of its budget, in this process."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import FusionError
from ..core.progress import Listener, Progress, no_progress
from ..core.recipe import Recipe
from ..data import Dataset
from ..parents import Parent
from ..stats import StatisticsCache
from .history import JOURNAL, History
from .inputs import SearchInputs, search_inputs
from .plan import SearchPlan, make_plan
from .shapes import SearchTable, Trial
from .table import budget_left, budget_share, search_table
from .trial import run_trial


def search(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: str | Recipe | Mapping[str, Any] = "kf_linear",
    dimensions: Mapping[str, Mapping[str, Any]] | Sequence[str] | None = None,
    *,
    trials: int = 30,
    seconds: float | None = None,
    held_out: Dataset | float | None = None,
    test: Dataset | None = None,
    seed: int = 0,
    device: str = "cpu",
    base: Parent | None = None,
    cache: StatisticsCache | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    on_progress: Listener = no_progress,
) -> SearchTable:
    """Look for the recipe's parameters with the smallest held-out loss (TPE), within a budget.

    dimensions: paths, or paths with ranges or choices; None: what the recipe's methods declare (`tuning.space.chosen`).
    held_out: labelled samples that judge the trials, or the share of `data` that does (a quarter). The test set chooses
    nothing: its figures stand beside. seed: of the fusions and of the search. cache: where importances and moments are
    shared (default: in memory, for this call). folder: where finished trials are kept; with `resume` a search there
    goes on, with the trials that it would have made anyway. Raises FusionError in one line where nothing can run;
    `Cancelled` if a callback raises it, which loses the trial at work alone.
    """
    inputs = search_inputs(parents, data, held_out, test=test, seed=seed, device=device, base=base)
    plan = make_plan(inputs, recipe, dimensions, trials=trials, seconds=seconds, seed=seed)
    return run_search(
        inputs, plan, cache=cache or StatisticsCache(), folder=None if folder is None else Path(folder), resume=resume,
        on_trial=on_trial, on_progress=on_progress,
    )  # fmt: skip


def run_search(
    inputs: SearchInputs,
    plan: SearchPlan,
    *,
    cache: StatisticsCache | None,
    folder: Path | None = None,
    resume: bool = False,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    on_progress: Listener = no_progress,
) -> SearchTable:
    """The trials of a plan until its budget is used up; see `search`."""
    if folder is not None:
        if (folder / JOURNAL).exists() and not resume:
            raise FusionError(f"{folder.name}: a search is there already; resume it, or give another folder")
        folder.mkdir(parents=True, exist_ok=True)
    progress = Progress.to(on_progress)
    with History(plan, folder) as history:
        found = history.trials
        while budget_left(plan.budget, found):
            share = budget_share(plan.budget, found)
            part = progress.part(share, share, "search").saying(f"trial {len(found) + 1}")
            trial = run_trial(inputs, plan, history.ask(), found, cache=cache, on_progress=part)
            history.tell(trial)
            found.append(trial)
            on_trial(trial)
    progress.part(0.0, 1.0, "search").report(1.0, "done")
    return search_table(plan.as_json(), found)

