"""Runs beside each other: accuracies with intervals, and whether their differences are more than noise.

Networks that answered the same samples are tested by McNemar's exact test on their answers, the test for pairs;
those on different samples, which are compared only when asked for, by Fisher's. Each test is by itself at 5 %, not
corrected for their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from fusion_engine.core.errors import StoreError
from fusion_engine.core.significance import Comparison, Interval, compared, compared_apart, wilson

from ..results import read_arrays, read_report
from ..runs import list_runs, read_job, run_folder
from .about import read_about
from .comparable import Ground, ground, said_apart
from .find import recipe_name

if TYPE_CHECKING:
    import numpy as np

REFERENCES = {
    "average": "plain average", "ensemble": "ensemble of logits", "softmax_ensemble": "ensemble of probabilities",
    "head_weighted_ensemble": "ensemble by head",
}


@dataclass(frozen=True, eq=False)
class Answers:
    """What the networks of a run say of each test sample, by the report's names ('parents/0', 'fused'). labels: (N,)
    int32. predicted: (N,) int32; confidence: (N,) float16, by network."""

    labels: np.ndarray
    predicted: Mapping[str, np.ndarray]
    confidence: Mapping[str, np.ndarray]

    def right(self, network: str) -> np.ndarray:
        """(N,) bool."""
        found: np.ndarray = self.predicted[network] == self.labels
        return found


def answering(run: str) -> str | None:
    """The run that keeps the answers of a fuse run's networks: itself, or, for one of an earlier version, the newest
    evaluation of it on its test data; None if there is neither."""
    if (run_folder(run) / FILE).is_file():
        return run
    test = read_job(run)["arguments"].get("test")
    for other in list_runs("evaluate"):
        asked = other["arguments"]
        same = other["state"] == "done" and asked.get("run") == run and asked.get("data") == test
        if same and (run_folder(other["id"]) / FILE).is_file():
            return other["id"]
    return None


FILE = "predictions.npz"


def read_answers(run: str) -> Answers | None:
    """Of a fuse run; None where none are kept. StoreError where they are damaged."""
    source = answering(run)
    if source is None:
        return None
    arrays = read_arrays(source, FILE)
    try:
        names = [str(name) for name in arrays["networks"]]
        predicted, confidence = (dict(zip(names, arrays[key], strict=True)) for key in ("predicted", "confidence"))
        return Answers(arrays["labels"], predicted, confidence)
    except (KeyError, ValueError):
        raise StoreError(f"{FILE} of run {source} is damaged; run it again") from None


def measured_on(report: Mapping[str, Any]) -> int | None:
    """The number of independent samples behind a report's accuracies; None where it is not known, or where what was
    counted depends on each other: positions of one sample, tokens of one text."""
    if (report.get("task") or {}).get("name", "classification") not in ("classification", "binary"):
        return None
    samples = (report.get("test") or {}).get("samples")
    if samples is None:  # of an earlier version
        samples = sum(map(sum, (report.get("fused") or {}).get("confusion") or ()))
    return int(samples) or None


def interval(accuracy: float | None, samples: int | None) -> Interval | None:
    """Wilson's 95 % interval of an accuracy; None where there is none, or samples are not known."""
    return None if accuracy is None or not samples else wilson(round(accuracy * samples), samples)


def said(found: Comparison | None) -> str:
    """'within noise', 'better' or 'worse'; '' where there was no test."""
    if found is None:
        return ""
    return "within noise" if found.is_noise else "better" if found.difference > 0 else "worse"


class Row(TypedDict):
    """A network of `beside`. key: its name in the run's report. difference: of accuracies, this one minus the first
    run's fused network, with p and test; None without a test. said: see `said`."""

    run: str
    key: str
    network: str
    accuracy: float | None
    interval: list[float] | None
    samples: int | None
    difference: float | None
    p: float | None
    test: str | None
    said: str


class Beside(TypedDict):
    """rows: the first run's fused network, its references and parents, then the other runs' fused networks."""

    rows: list[Row]
    notes: list[str]


def beside(runs: Sequence[str], *, mix: bool = False) -> Beside:
    """Fuse runs against the first of them. Runs of other parents or other test data are left out, which a note says;
    with `mix` they are there, and a note says that. StoreError for a run without a report."""
    reports = {run: read_report(run) for run in runs}
    stand = {run: ground(run) for run in runs}
    names = dict(zip(runs, titles(runs), strict=True))
    first, notes = runs[0], []
    if apart := said_apart(names, stand, first):
        notes.append(
            f"{apart}: their figures stand beside each other, but do not measure the same" if mix
            else f"left out, as against {names[first]}: {apart}"
        )
    kept = [run for run in runs if mix or not stand[first].differs(stand[run])]
    answers = {run: read_answers(run) for run in kept}
    rows = []
    for run in kept:
        for key, title in networks(reports[run]).items():
            if run == first or key == "fused":
                name = f"fused: {names[run]}" if key == "fused" else title
                rows.append(_row(run, key, name, reports, answers, stand, first))
    rows.sort(key=lambda row: (row["run"] != first, row["key"] != "fused"))
    lacking = [names[run] for run in kept if answers[run] is None and measured_on(reports[run])]
    if lacking:
        notes.append(f"no answers to single samples are kept of {', '.join(lacking)}: differences are not tested")
    if any(reports[run].get("fused") and measured_on(reports[run]) is None for run in kept):
        notes.append("predictions that depend on each other, or are not counted, have no interval and no test")
    return {"rows": rows, "notes": notes}


def networks(report: Mapping[str, Any]) -> dict[str, str]:
    """The networks a report has figures of, by key: parents, references, fused, with what they are called."""
    if "fused" not in report:
        return {}
    found = {f"parents/{p}": str(entry["file"]) for p, entry in enumerate(report["parents"])}
    return found | {key: title for key, title in REFERENCES.items() if report.get(key)} | {"fused": "fused"}


def entry_of(report: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The figures of a network, by its key."""
    kind, _, number = key.partition("/")
    found: Mapping[str, Any] = report[kind][int(number)] if number else report[kind]
    return found


def titles(runs: Sequence[str]) -> list[str]:
    """What runs are called: by their names, else their recipes, with the end of the id where several would look the
    same."""
    names = [read_about(run)["name"] or recipe_name(read_job(run)["arguments"]) for run in runs]
    return [f"{name} ({run[-8:]})" if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]


def tested(one: Answers | None, key: str, other: Answers | None, key_of_other: str) -> Comparison | None:
    """McNemar's test of two networks' answers to the same samples; None where some are missing."""
    if one is None or other is None or key not in one.predicted or key_of_other not in other.predicted:
        return None
    if len(one.labels) != len(other.labels) or not len(one.labels) or (one.labels != other.labels).any():
        return None
    first, second = one.right(key), other.right(key_of_other)
    return compared(int((first & ~second).sum()), int((second & ~first).sum()), len(first))


def _row(
    run: str, key: str, name: str, reports: Mapping[str, Mapping[str, Any]], answers: Mapping[str, Answers | None],
    stand: Mapping[str, Ground], first: str,
) -> Row:
    accuracy, samples = entry_of(reports[run], key).get("accuracy"), measured_on(reports[run])
    bounds = interval(accuracy, samples)
    found = None
    if (run, key) != (first, "fused"):
        if stand[run].test == stand[first].test:
            found = tested(answers[run], key, answers[first], "fused")
        else:
            base, n = entry_of(reports[first], "fused").get("accuracy"), measured_on(reports[first])
            if samples and n and accuracy is not None and base is not None:
                found = compared_apart(round(accuracy * samples), samples, round(base * n), n)
    return {
        "run": run, "key": key, "network": name, "accuracy": accuracy, "samples": samples,
        "interval": None if bounds is None else list(bounds), "difference": None if found is None else found.difference,
        "p": None if found is None else found.p, "test": None if found is None else found.test, "said": said(found),
    }  # fmt: skip
