"""What the report of a run shows: charts as Plotly reads them, each with a table of the same. Plain data; no Plotly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"
GREY = "#8A95A2"
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, "#D55E00", "#F0E442", GREY)
_REFERENCES = {
    "average": ("Plain average", GREY), "ensemble": ("Ensemble, logits", GREEN),
    "softmax_ensemble": ("Ensemble, softmax", GREEN), "head_weighted_ensemble": ("Ensemble, by head", GREEN),
    "fused": ("Fused", BLUE),
}
_METRICS = {"accuracy": "Accuracy", "r2": "R²", "perplexity": "Perplexity"}
_MOST_POINTS = 2000  # of one space


@dataclass(frozen=True)
class Part:
    """A chart with its title and alternative text, and the same as a table. traces, layout: as Plotly reads them."""

    title: str
    alt: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def accuracy_part(report: Mapping[str, Any]) -> Part | None:
    """All networks by what they are compared by; None where nothing was measured."""
    models = networks(report)
    metric = str((report.get("task") or {}).get("metric", "accuracy"))
    shown = [(name, colour, entry) for name, colour, entry in models if entry.get(metric) is not None]
    if not shown:
        return None
    scale = 100.0 if metric == "accuracy" else 1.0
    trace = {
        "type": "bar", "orientation": "h", "x": [scale * entry[metric] for *_, entry in shown],
        "y": [escaped(name) for name, *_ in shown], "marker": {"color": [colour for _, colour, _ in shown]},
        "hovertemplate": "%{y}: %{x:.4g}<extra></extra>", "textposition": "auto",
        "text": [figure(entry[metric], metric) for *_, entry in shown],
    }  # fmt: skip
    unit = ", %" if metric == "accuracy" else ""
    layout = {
        "height": 90 + 38 * len(shown), "yaxis": {"autorange": "reversed", "automargin": True},
        "xaxis": {"title": {"text": _METRICS[metric] + unit}, "rangemode": "tozero"},
    }
    rows = [(name, figure(entry[metric], metric), f"{entry['loss']:.4f}") for name, _, entry in shown]
    return Part(
        f"{_METRICS[metric]} on the test data", "Bars: every network's figure on the test data", [trace], layout,
        ("Network", _METRICS[metric], "Loss"), rows,
    )


def classes_part(report: Mapping[str, Any]) -> Part | None:
    """Accuracy of each class, of parents and fused network; None where there are none, or too many."""
    models = [(name, colour, entry) for name, colour, entry in networks(report) if entry.get("per_class")]
    if not models or len(models[0][2]["per_class"]) > 100:
        return None
    classes = list(range(len(models[0][2]["per_class"])))
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "name": escaped(name), "x": classes,
            "y": [None if value is None else 100 * value for value in entry["per_class"]],
            "line": {"color": _COLOURS[1 + i % 7] if name != "Fused" else BLUE, "width": 3 if name == "Fused" else 1.2},
            "marker": {"symbol": _SYMBOLS[i % 8], "size": 8},
            "visible": True if name == "Fused" or i < len(report["parents"]) else "legendonly",
        }
        for i, (name, _, entry) in enumerate(models)
    ]
    layout = {
        "height": 380, "xaxis": {"title": {"text": "Class"}, "dtick": 1 if len(classes) <= 20 else None},
        "yaxis": {"title": {"text": "Accuracy, %"}}, "legend": {"orientation": "h", "y": -0.25},
    }
    rows = [(name, *(figure(value, "accuracy") for value in entry["per_class"])) for name, _, entry in models]
    return Part(
        "Accuracy of each class", "Lines: accuracy of each class by network", traces, layout,
        ("Network", *map(str, classes)), rows,
    )


def seconds_part(report: Mapping[str, Any]) -> Part:
    """Where the time went."""
    spent = {name: value for name, value in report["seconds"].items() if name not in ("total", "shared") and value}
    trace = {
        "type": "bar", "orientation": "h", "x": list(spent.values()), "y": [escaped(name) for name in spent],
        "marker": {"color": SKY}, "hovertemplate": "%{y}: %{x:.3g} s<extra></extra>",
    }
    layout = {
        "height": 90 + 32 * len(spent), "yaxis": {"autorange": "reversed", "automargin": True},
        "xaxis": {"title": {"text": "Seconds"}},
    }
    rows = [(name, f"{value:.3f}") for name, value in spent.items()]
    return Part("Where the time went", "Bars: seconds of each stage", [trace], layout, ("Stage", "Seconds"), rows)


def spaces_part(explored: Mapping[str, Any]) -> Part | None:
    """What merging loses of each space; None without any."""
    spaces = explored.get("spaces", [])
    if not spaces:
        return None
    trace = {
        "type": "bar", "x": [escaped(space["name"]) for space in spaces],
        "y": [100 * space["error"] for space in spaces],
        "marker": {"color": ORANGE}, "hovertemplate": "%{x}: %{y:.1f} %<extra></extra>",
    }
    layout = {
        "height": 340, "yaxis": {"title": {"text": "Variance lost, %"}},
        "xaxis": {"type": "category", "automargin": True},
    }
    rows = [
        (space["name"], str(space["size"]), f"{space['error']:.1%}", (space.get("verdict") or {}).get("sentence", ""))
        for space in spaces
    ]
    return Part(
        "What merging loses", "Bars: share of the neurons' variance that the grouping of each space loses", [trace],
        layout, ("Space", "Neurons", "Lost", "Verdict"), rows,
    )


def plane_part(space: Mapping[str, Any], names: Sequence[str], arrays: Mapping[str, Any]) -> Part:
    """The neurons of one space in the plane of their first two principal components, by parent."""
    total = len(arrays["parent"])
    step = -(-total // _MOST_POINTS)
    traces, rows = [], []
    for p, name in enumerate(names):
        at = [i for i in range(0, total, step) if arrays["parent"][i] == p]
        neurons, groups = ([int(arrays[key][i]) for i in at] for key in ("neuron", "group"))
        x, y = ([round(float(arrays["pca"][i][axis]), 4) for i in at] for axis in (0, 1))
        about = [f"{escaped(name)}:{n}, group {g}" for n, g in zip(neurons, groups, strict=True)]
        traces.append({
            "type": "scatter", "mode": "markers", "name": escaped(name), "x": x, "y": y, "text": about,
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"color": _COLOURS[p % 8], "symbol": _SYMBOLS[p % 8], "size": 8, "opacity": 0.8},
        })
        rows += [(f"{name}:{n}", str(g), f"{float(arrays['importance'][i]):.4g}")
                 for n, g, i in zip(neurons, groups, at, strict=True)]
    note = f", every {step}th of {total:,}" if step > 1 else ""
    layout = {
        "height": 460, "xaxis": {"title": {"text": "First principal component"}},
        "yaxis": {"title": {"text": "Second"}}, "legend": {"orientation": "h", "y": -0.2},
    }
    return Part(
        f"Neurons of {space['name']}{note}",
        f"Dots: the neurons of {space['name']} by parent, alike ones close together",
        traces, layout, ("Neuron", "Group", "Importance"), rows,
    )


def networks(report: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Name, colour and figures: parents, references, the fused network; none without test data."""
    if "fused" not in report:
        return []
    found = [(str(entry["file"]), SKY, entry) for entry in report["parents"]]
    return found + [(label, colour, report[key]) for key, (label, colour) in _REFERENCES.items() if report.get(key)]


def figure(value: float | None, metric: str) -> str:
    """A figure as text."""
    if value is None:
        return "–"
    return f"{value:.2%}" if metric == "accuracy" else f"{value:.4g}"


def escaped(text: object) -> str:
    """Text for HTML and for Plotly's texts, which read a few tags."""
    import html

    return html.escape(str(text))
