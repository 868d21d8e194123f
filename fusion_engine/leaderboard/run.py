"""Running the rows of a leaderboard: one fusion a row, and the references all of them are compared with."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..core.errors import FusionError
from ..core.progress import Listener, Progress, no_progress
from ..core.recipe import Recipe
from ..data import Dataset
from ..evaluation import compare, evaluate
from ..parents import Parent
from ..pipeline import FusionResult, fuse
from ..pipeline.outcome import outcome
from ..stats import StatisticsCache
from ..store import own_seconds
from .memory import peak_memory_mb, reset_peak
from .plan import Inputs, make_plan
from .rows import REFERENCES, Row, kept_rows
from .table import standings

_REFERENCES = ("best_parent", "mean_parent", "average", "ensemble", "softmax_ensemble", "head_weighted_ensemble")
# Gives the head-weighted ensemble its weights: by the scores of the presets, which so are computed once.
_SCORES = {"method": "conductance", "n_steps": 3}
_WEIGHING = {"name": REFERENCES, "importance": _SCORES, "grouping": "identity", "solver": "average"}


def leaderboard(
    parents: Sequence[Parent],
    data: Dataset,
    test: Dataset,
    presets: str | Sequence[str | Recipe] = "all",
    importances: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    *,
    device: str = "cpu",
    base: Parent | None = None,
    cache: StatisticsCache | None = None,
    done: Iterable[Mapping[str, Any]] = (),
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    on_progress: Listener = no_progress,
) -> dict[str, Any]:
    """Fuse the parents by presets x importances x seeds and measure every result on `test`.

    presets, importances, seeds: see `make_plan`. base: what the parents were trained from, for recipes that need it.
    cache: where importances and moments are shared (default: in memory, for this call). done: rows of an earlier,
    interrupted call, which are not run again. on_row: given every row as it is done. A fusion that fails is a row
    with the reason. Returns the table, see `standings`; its 'rows' are all rows. Raises FusionError where nothing can
    run at all; `Cancelled` if a callback raises it.
    """
    inputs = Inputs(parents, data, test, device, base)
    plan = make_plan(inputs, presets, importances, seeds)
    cache = cache or StatisticsCache()
    finished, progress = kept_rows(inputs.digest, plan, done), Progress.to(on_progress)
    by_key = {REFERENCES: None, **{row.key: row for row in plan}}
    for (key, row), share in progress.each(by_key.items()):
        if key not in finished:
            given: dict[str, Any] = {"cache": cache, "on_progress": share}
            finished[key] = references(inputs, **given) if row is None else run_row(inputs, row, **given)
            on_row(finished[key])
    progress.part(0.0, 1.0, "leaderboard").report(1.0, "done")
    rows = [finished[key] for key in by_key]
    return standings([row.as_json() for row in plan], rows) | {"rows": rows}


def run_row(
    inputs: Inputs, row: Row, *, cache: StatisticsCache | None = None, on_progress: Listener = no_progress
) -> dict[str, Any]:
    """One row's fusion and what came out: see docs/architecture.md. Whatever goes wrong becomes the row's reason;
    only `Cancelled` comes through."""
    about = {**row.as_json(), "kind": "fusion"}
    if row.reason:
        return {**about, "state": "unavailable"}
    return _guarded(about, lambda: _fused(inputs, row, cache, on_progress))


def references(
    inputs: Inputs, *, cache: StatisticsCache | None = None, on_progress: Listener = no_progress
) -> dict[str, Any]:
    """The row of the models every comparison shows: best and mean parent, plain average, ensembles. As `run_row`."""
    about = {"key": REFERENCES, "kind": REFERENCES, "inputs": inputs.digest}
    return _guarded(about, lambda: _compared(inputs, cache, on_progress))


def _guarded(about: Mapping[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A row with what `compute` gives, or with the reason why there is nothing."""
    return {**about, **outcome(lambda: {**compute(), "ended": time.time()})}


def _fused(inputs: Inputs, row: Row, cache: StatisticsCache | None, on_progress: Listener) -> dict[str, Any]:
    assert row.seed is not None
    reset_peak()
    result = _fuse(inputs, row.recipe, cache, on_progress, seed=row.seed, base=inputs.base)
    report, memory = result.report, peak_memory_mb()
    measured = evaluate(result.model, None, inputs.test, device=inputs.device)
    _check_finite("the fused network", measured.loss)
    others = {name: value for name in ("r2", "perplexity") if (value := getattr(measured, name)) is not None}
    return {
        "metric": measured.metric,
        "accuracy": measured.accuracy,
        **others,
        "loss": measured.loss,
        "per_class": list(measured.per_class),
        "seconds": report["seconds"],
        "cost": round(own_seconds(report), 4),
        "shared": report["shared"],
        "peak_memory_mb": round(memory, 1),
        "parameters": report["width"]["parameters"],
        "warnings": report["warnings"],
    }


def _compared(inputs: Inputs, cache: StatisticsCache | None, on_progress: Listener) -> dict[str, Any]:
    try:
        found = _fuse(inputs, _WEIGHING, cache, on_progress, test=inputs.test).report
    except FusionError:  # no conductance here, or other widths: then without the head-weighted ensemble
        found = compare(inputs.parents, None, inputs.test, device=inputs.device)
    entries = [
        {"name": name, **{k: found[name].get(k) for k in ("accuracy", "loss", "per_class", "file")}}
        | _more(found[name])
        for name in _REFERENCES
        if name in found
    ]
    parents = [{k: entry[k] for k in ("file", "accuracy", "loss")} | _more(entry) for entry in found["parents"]]
    for entry in parents:
        _check_finite(entry["file"], entry["loss"])
    return {"references": [entry for entry in entries if math.isfinite(entry["loss"])], "parents": parents}


def _more(entry: Mapping[str, Any]) -> dict[str, float]:
    """Figures of other tasks than classification."""
    return {name: entry[name] for name in ("r2", "perplexity") if entry.get(name) is not None}


def _fuse(
    inputs: Inputs, recipe: Mapping[str, Any], cache: StatisticsCache | None, on_progress: Listener, **others: Any
) -> FusionResult:
    given: dict[str, Any] = {"device": inputs.device, "cache": cache, "on_progress": on_progress}
    return fuse(inputs.parents, inputs.data, recipe, **given, **others)


def _check_finite(what: str, loss: float) -> None:
    """Raise FusionError for a loss that is no number: tables could not hold it."""
    if not math.isfinite(loss):
        raise FusionError(f"{what} does not give finite outputs on the test samples: its weights are too large")
