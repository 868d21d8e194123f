"""A leaderboard as a table with bars, one recipe of it in detail, and the whole as CSV."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from fusion_engine.core.types import merit

from ..run import charts
from ..run.reports import METRICS, score_text, stage_seconds
from ..shared import state
from ..shared.tables import table
from ..shared.text import megabytes, plain, seconds
from ..shared.theme import show
from .front_chart import REFERENCES, metric_of_board, score_of

_STATES = {"waiting": "waiting", "failed": "failed", "unavailable": "cannot run"}


def standings_table(board: Mapping[str, Any], key: str) -> None:
    """Best first, the references among them; a click on a row chooses it."""
    rows, metric = _rows(board), metric_of_board(board)
    bar = st.column_config.ProgressColumn(
        min_value=0.0, max_value=100.0, format="%.2f %%", width=180, help="Mean over the seeds, on the test data.",
    )  # fmt: skip
    number = st.column_config.NumberColumn(format="%.3f", width=110, help="Mean over the seeds, on the test data.")
    once = {"entry", "Spread", "Seeds"} if all(entry["planned"] == 1 for entry in board["entries"]) else {"entry"}
    table(
        [{name: value for name, value in row.items() if name not in once} for row in rows],
        height=min(38 + 35 * len(rows), 1088), key=key, selection_mode="single-row",
        on_select=lambda: _choose(key, rows),
        alt=f"Recipes and references by {METRICS[metric].lower()}, with spread, time and memory",
        column_config={
            "#": st.column_config.TextColumn(width=40),
            "Recipe": st.column_config.TextColumn(width=200),
            METRICS[metric]: bar if metric == "accuracy" else number,
            "Spread": st.column_config.TextColumn(width=70, help="Standard deviation over the seeds, in points."),
            "Time": st.column_config.TextColumn(
                width=70, help="Median of what one fusion takes by itself, shared parts included."
            ),
            "Memory": st.column_config.TextColumn(width=75, help="Peak of the process."),
            "Seeds": st.column_config.TextColumn(width=60, help="Done of planned."),
            "Note": st.column_config.TextColumn(width=430),
        },
    )


def reasons(refused: Mapping[str, str]) -> None:
    st.markdown("\n".join(f"- **{plain(name)}**: {plain(reason)}" for name, reason in refused.items()))


def _rows(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines: list[tuple[float, dict[str, Any]]] = []
    metric = metric_of_board(board)
    name, scale = METRICS[metric], 100 if metric == "accuracy" else 1
    for number, entry in enumerate(board["entries"], 1):
        score = score_of(entry)
        note = "on the front" if entry["pareto"] else ""
        if entry["reason"]:
            note = f"{_STATES[entry['state']]}: {entry['reason']}" if entry["state"] in _STATES else entry["reason"]
        elif not score:
            note = _STATES[entry["state"]]
        lines.append((merit(metric, score["mean"]) if score else -math.inf, {
            "#": str(number), "Recipe": entry["label"], name: scale * score["mean"] if score else None,
            "Spread": f"± {scale * score['std']:.2f}" if score and len(entry["seeds"]) > 1 else "",
            "Time": seconds(entry["seconds"]) if score else "",
            "Memory": megabytes(entry["peak_memory_mb"]) if score else "",
            "Seeds": f"{len(entry['seeds'])} / {entry['planned']}" if entry["state"] != "unavailable" else "",
            "Note": note, "entry": entry["label"],
        }))
    empty = dict.fromkeys(("Spread", "Time", "Memory", "Seeds"), "")
    for reference in board["references"]:
        label = REFERENCES.get(reference["name"], (reference["name"],))[0]
        if reference.get(metric) is not None:
            cells = {"#": "", "Recipe": f"({label})", name: scale * reference[metric], **empty}
            lines.append((merit(metric, reference[metric]), {**cells, "Note": "reference", "entry": ""}))
    return [row for _, row in sorted(lines, key=lambda line: -line[0])]


def _choose(key: str, rows: Sequence[Mapping[str, Any]]) -> None:
    chosen = st.session_state[key]["selection"]["rows"]
    if chosen and chosen[0] < len(rows) and rows[chosen[0]]["entry"]:
        state.put(entry=rows[chosen[0]]["entry"])


def details(board: Mapping[str, Any], entry: Mapping[str, Any], key: str) -> None:
    """One recipe: its figures, where its time went, and what the fusions had to say."""
    score, metric = score_of(entry), entry.get("metric", "accuracy")
    if score is None:
        st.info(plain(entry["reason"] or "Not done yet."), icon=":material/info:")
        return
    columns = st.columns(4)
    scale = 100 if metric == "accuracy" else 1
    columns[0].metric(METRICS[metric], score_text(score["mean"], metric), help="Mean over the seeds.")
    columns[1].metric("From – to", f"{scale * score['min']:.2f} – {scale * score['max']:.2f}")
    columns[2].metric("Takes", seconds(entry["seconds"]), help="A fusion by itself.")
    columns[3].metric("Took here", seconds(entry["spent"]), help="Without what other fusions had computed already.")
    rows = [row for row in board["rows"] if row["key"] in entry["keys"]]
    spent = {f"seed {row['seed']}": stage_seconds(row) for row in rows}
    show(charts.stage_bars(spent), "Stacked bars: seconds of each stage by seed", f"stages-{key}")
    table(
        [{
            "Seed": row["seed"], METRICS[metric]: score_text(row[metric], metric), "Loss": f"{row['loss']:.4f}",
            "Time": seconds(row["cost"]), "Took": seconds(row["seconds"]["total"]),
            "Shared": ", ".join(dict.fromkeys(part["stage"] for part in row["shared"])) or "–",
        } for row in rows],
        alt=f"{METRICS[metric]}, loss and time of each seed",
    )
    for line in dict.fromkeys(line for row in rows for line in row["warnings"]):
        st.caption(f":material/info: {plain(line)}")


def as_csv(board: Mapping[str, Any]) -> str:
    """The table, one line a recipe and reference; accuracies in [0, 1], seconds, MB."""
    buffer = io.StringIO()
    writer, metric = csv.writer(buffer), metric_of_board(board)
    writer.writerow([
        "recipe", "importance", "state", "seeds", "accuracy", "std", "min", "max", "loss", "seconds", "seconds_spent",
        "peak_memory_mb", "pareto", "reason", *(["metric", "score"] if metric != "accuracy" else []),
    ])
    for entry in board["entries"]:
        accuracy, loss = entry["accuracy"] or {}, entry["loss"] or {}
        writer.writerow([
            entry["preset"], entry["importance"], entry["state"], " ".join(map(str, entry["seeds"])),
            *(accuracy.get(name, "") for name in ("mean", "std", "min", "max")), loss.get("mean", ""),
            *("" if entry[name] is None else entry[name] for name in ("seconds", "spent", "peak_memory_mb")),
            entry["pareto"], entry["reason"],
            *([metric, (score_of(entry) or {}).get("mean", "")] if metric != "accuracy" else []),
        ])
    for reference in board["references"]:
        cells = [reference["name"], "", "reference", "", reference["accuracy"], "", "", "", reference["loss"]]
        more = [metric, reference.get(metric, "")] if metric != "accuracy" else []
        writer.writerow([*cells, "", "", "", "", "", *more])
    return buffer.getvalue()
