"""How each level of a level-by-level fusion went: read from a run's events while it works, from its report after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class LevelRun:
    """One level. state: 'waiting', 'running', 'trained', 'least_squares' (kept or solved without training) or 'start'
    (training did not help, and the weights it started from were kept).

    curve: (epoch, training loss, held-out loss) a point, either loss None where it is not known. epochs: the most
    there can be, 0 if unknown. reason: why it was stopped or not kept. unit: what the curve counts, 'epoch', or 'step'
    for what follows the solve.
    """

    index: int
    name: str = ""
    state: str = "waiting"
    reason: str = ""
    epochs: int = 0
    unit: str = "epoch"
    curve: list[tuple[int, float | None, float | None]] = field(default_factory=list)


def from_events(events: Sequence[Mapping[str, Any]]) -> list[LevelRun]:
    """The levels as a run's progress tells them; none for fusions that do not work level by level.

    A solver that trains may first solve by least squares; once it trains, what came before is left out.
    """
    told = _details(events, "solve")
    trained = [d for d in told if "epoch" in d or d.get("done")]
    found: dict[int, LevelRun] = {}
    ended = "trained" if trained else "least_squares"
    for detail in trained or told:
        at = int(detail["index"])
        run = found.setdefault(at, LevelRun(at))
        run.name = str(detail.get("level") or "")
        run.state = "running"
        for earlier in found.values():
            # Events may be thinned out: a later level has begun, so the ones before it have ended.
            if earlier.index < at and earlier.state == "running":
                earlier.state = ended
        if detail.get("done"):
            run.state = str(detail.get("kept") or "trained")
            run.reason = str(detail.get("reason") or "")
        elif "epoch" in detail:
            run.epochs = int(detail.get("epochs") or 0)
            run.curve.append((int(detail["epoch"]), _number(detail.get("loss")), _number(detail.get("held_out"))))
    if events and events[-1]["stage"] != "solve":
        for run in found.values():
            if run.state == "running":
                run.state = ended
    number = max((int(d["levels"]) for d in trained or told), default=0)
    return [found.get(i) or LevelRun(i) for i in range(max(number, 1 + max(found, default=-1)))]


def steps_from_events(events: Sequence[Mapping[str, Any]], first: int) -> list[LevelRun]:
    """The training of the steps after the solve, numbered from `first`; their curves go by step."""
    found: dict[str, LevelRun] = {}
    for detail in (d for d in _details(events, "post") if "step" in d):
        name = str(detail.get("level") or "")
        for earlier in found.values():
            earlier.state = "trained"
        run = found.setdefault(name, LevelRun(first + len(found), name, unit="step"))
        run.state, run.epochs = "running", int(detail.get("steps") or 0)
        run.curve.append((int(detail["step"]), _number(detail.get("loss")), _number(detail.get("held_out"))))
    return list(found.values())


def _details(events: Sequence[Mapping[str, Any]], stage: str) -> list[Mapping[str, Any]]:
    details = [event.get("detail") or {} for event in events if event["stage"] == stage]
    return [d for d in details if isinstance(d.get("levels"), int) and "index" in d]


def from_report(report: Mapping[str, Any]) -> list[LevelRun]:
    """The levels as a report tells them; none where the solver did not train. Epoch 0 is before training."""
    steps = ((report.get("decisions") or {}).get("gradient") or {}).get("steps") or []
    runs = []
    for index, step in enumerate(steps):
        curve = [(int(epoch), _number(loss), _number(held_out)) for epoch, loss, held_out in step.get("curve") or []]
        start = [(0, None, _number(step.get("held_out_before")))] if curve else []
        kept, reason, epochs = str(step.get("kept") or "trained"), str(step.get("reason") or ""), step.get("epochs")
        runs.append(LevelRun(index, str(step["level"]), kept, reason, int(epochs or 0), curve=[*start, *curve]))
    return runs


def latest(runs: Sequence[LevelRun]) -> int:
    """The level at work, else the last one that has a curve, else the first."""
    running = [run.index for run in runs if run.state == "running"]
    drawn = [run.index for run in runs if run.curve]
    return running[-1] if running else drawn[-1] if drawn else 0


def _number(value: Any) -> float | None:
    """A loss that a logarithmic axis can show: positive and finite."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
    return float(value) if usable else None
