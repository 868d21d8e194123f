"""The story of one fusion in a sentence a step, with its numbers. Text only; the page draws it."""

from typing import Any

from fusion_engine.store import own_seconds

from ..shared.text import count, escaped, join, percent, seconds
from .reports import METRICS, best_parent, metric_of, score_text

_HOW = {
    "identity": "by position",
    "hungarian": "into the pairs that lose least when merged",
    "kmeans": "with the neurons that respond alike",
    "balanced": "so that each group takes one neuron of every parent",
}
_WORDS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
_TIMES = {2: "twice", 3: "three times", 4: "four times"}
_SOLVE = {
    "average": "Each layer's weights are the averages within the groups",
    "least_squares": "Each layer is solved in one step so that its neurons reproduce the group means",
}


def story(report: dict[str, Any], parents: dict[str, Any]) -> list[str]:
    """Sentences as safe HTML with numbers in bold."""
    if "fused" not in report:
        return []
    steps = [_parents(report, parents), _average(report), _groups(report), _solved(report), _result(report)]
    return [step for step in steps if step]


def _parents(report: dict[str, Any], parents: dict[str, Any]) -> str:
    number = len(report["parents"])
    neurons = sum(space["size"] for space in report["spaces"])
    counts = [p.get("class_counts") for p in parents["parents"]]
    uneven = all(counts) and any(c != counts[0] for c in counts)
    shares = ", each on its own uneven share of the data" if uneven else ""
    metric = metric_of(report)
    accuracies = join(f"<b>{score_text(p.get(metric), metric, 1)}</b>" for p in report["parents"])
    result = f"get {accuracies} right" if metric == "accuracy" else f"have {METRICS[metric]} {accuracies}"
    kind = escaped(parents["architecture"])
    return (
        f"{_WORDS[number]} networks of the same shape ({kind}, {count(neurons, 'hidden neuron')}) were "
        f"trained apart{shares}. On new samples they {result}."
    )


def _average(report: dict[str, Any]) -> str:
    average = (report.get("average") or {}).get("accuracy")
    if average is None or metric_of(report) != "accuracy":
        return ""
    best = best_parent(report) or 0.0
    verdict = (
        "neuron 5 of one network has nothing to do with neuron 5 of another"
        if average < best else "they are close enough for that"
    )
    return f"Averaging their weights position by position gives <b>{percent(average)}</b>: {verdict}."


def _groups(report: dict[str, Any]) -> str:
    spaces, recipe = report["spaces"], report["recipe"]
    how = _HOW.get(recipe["grouping"]["method"], "into groups")
    weighing = recipe["importance"]["method"].replace("_", " ")
    weight = "" if weighing == "uniform" else f", weighed by how much each matters ({escaped(weighing)})"
    total = sum(space["size"] for space in spaces) * len(report["parents"])
    groups = sum(space["size"] for space in spaces)
    return (
        f"Instead, the parents' <b>{count(total, 'neuron')}</b> were grouped {how}{weight}: "
        f"<b>{count(groups, 'group')}</b>, one for every neuron of the fused network."
    )


def _solved(report: dict[str, Any]) -> str:
    text = _SOLVE.get(report["recipe"]["solver"]["method"], "The weights were fitted to the groups")
    after = " and refined afterwards" if report["recipe"]["post"] else ""
    return f"{text}{after}. All of it took <b>{seconds(own_seconds(report))}</b>, without training."


def _result(report: dict[str, Any]) -> str:
    metric = metric_of(report)
    if metric != "accuracy":
        own, best = report["fused"].get(metric), best_parent(report)
        figures = f"<b>{score_text(own, metric)}</b>; the best parent has {score_text(best, metric)}"
        return f"The fused network, as small as one parent, has {METRICS[metric]} {figures}."
    fused, best = report["fused"].get("accuracy"), best_parent(report)
    if fused is None or best is None:
        return ""
    gain = 100 * (fused - best)
    against = f"{abs(gain):.1f} points {'above' if gain >= 0 else 'below'} the best parent"
    ensemble = (report.get("softmax_ensemble") or {}).get("accuracy")
    beside = (
        f" Running all parents side by side and joining their answers gets <b>{percent(ensemble)}</b>, "
        f"at {_TIMES.get(len(report['parents']), 'several times')} the cost." if ensemble is not None else ""
    )
    return f"The fused network, as small as one parent, gets <b>{percent(fused)}</b>: {against}.{beside}"
