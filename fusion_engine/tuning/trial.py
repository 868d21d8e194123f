"""One trial: a fusion with some settings, and its loss on the held-out samples."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import FusionError
from ..core.progress import Listener, no_progress
from ..data import Dataset
from ..evaluation import evaluate
from ..pipeline import FusionResult, fuse
from ..pipeline.outcome import outcome
from ..stats import StatisticsCache
from .inputs import SearchInputs
from .plan import SearchPlan
from .shapes import Measured, Trial
from .table import failed_trial


def run_trial(
    inputs: SearchInputs,
    plan: SearchPlan,
    settings: Mapping[str, Any],
    earlier: Sequence[Trial],
    *,
    cache: StatisticsCache | None = None,
    on_progress: Listener = no_progress,
) -> Trial:
    """The next trial, with these settings; an earlier one of the same settings is not run again. Whatever goes wrong
    becomes the trial's reason; only `Cancelled` comes through."""
    known = next((trial for trial in earlier if trial["settings"] == dict(settings)), None)
    about = failed_trial(len(earlier), settings, "")
    if known is not None:
        first = known["number"] if known["same_as"] is None else known["same_as"]
        return {**known, "number": len(earlier), "seconds": 0.0, "same_as": first, "ended": time.time()}
    began = time.perf_counter()

    def compute() -> dict[str, Any]:
        result = fuse(
            inputs.parents, inputs.fit, plan.recipe.set(settings), seed=plan.seed, device=inputs.device,
            base=inputs.base, cache=cache, on_progress=on_progress,
        )
        held, metric = _measured(result, inputs.held, inputs.device, "held-out")
        test = None if inputs.test is None else _measured(result, inputs.test, inputs.device, "test")[0]
        return {"loss": held["loss"], "held_out": held, "test": test, "metric": metric}

    found = outcome(compute)
    return {**about, **found, "seconds": round(time.perf_counter() - began, 4), "ended": time.time()}  # type: ignore[typeddict-item]


def _measured(result: FusionResult, data: Dataset, device: str, what: str) -> tuple[Measured, str]:
    found = evaluate(result.model, None, data, device=device)
    if not math.isfinite(found.loss):
        raise FusionError(f"the fused network does not give finite outputs on the {what} samples")
    others = {name: value for name in ("r2", "perplexity") if (value := getattr(found, name)) is not None}
    return {"accuracy": found.accuracy, "loss": found.loss, "others": others}, found.metric
