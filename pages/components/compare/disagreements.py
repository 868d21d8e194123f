"""Where two networks disagree: how often, on which samples, and those samples themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.core.significance import compared as paired_test
from fusion_engine.store.described.beside import Answers

from ..passport import pictures
from ..passport.found import finished
from ..shared import state
from ..shared.tables import table
from ..shared.text import count, distinct, escaped, percent, plain
from .compared import Compared, Network, chosen, right
from .confusion import pick
from .noise import p_text

SHOWN = 24
_KINDS = {
    "first": "Only {a} is right", "second": "Only {b} is right", "wrong": "Both wrong, and differ",
    "same": "Both wrong alike", "all": "All that they disagree on",
}


def cases(one: Answers, key: str, other: Answers, key_of_other: str) -> dict[str, np.ndarray]:
    """Which samples (N,) bool are of each kind of `_KINDS`."""
    a, b = right(one, key), right(other, key_of_other)
    differ = one.predicted[key] != other.predicted[key_of_other]
    return {
        "first": a & ~b, "second": b & ~a, "wrong": ~a & ~b & differ, "same": ~a & ~b & ~differ, "all": differ,
    }


def order(found: np.ndarray, one: Answers, key: str, other: Answers, key_of_other: str) -> np.ndarray:
    """Indices of the samples that are `found`, those first on which the surer of the two is surest."""
    where = np.flatnonzero(found)
    sure = np.maximum(one.confidence[key][where], other.confidence[key_of_other][where]).astype(np.float64)
    return where[np.argsort(-sure, kind="stable")]


def draw(shown: Compared) -> None:
    kept = {run: found for run in shown.runs if (found := shown.answers(run)) is not None}
    networks = [n for n in shown.networks() if n.run in kept and n.key in kept[n.run].predicted]
    tests = {run: shown.jobs[run]["arguments"].get("test") for run in kept}
    networks = [n for n in networks if tests[n.run] == tests[networks[0].run]]
    if len(networks) < 2:
        st.info("No answers to single samples are kept of these runs. Above they can be measured.")
        return
    first = chosen(networks, state.get("left"), "fused")
    second = chosen(networks, state.get("right"), shown.best_parent())
    left, right_column = st.columns(2, gap="large")
    with left:
        pick(networks, "left", "Network A", first)
    with right_column:
        pick(networks, "right", "Network B", second)
    if first.id == second.id:
        st.caption("A network does not disagree with itself: choose another.")
        return
    one, other = kept[first.run], kept[second.run]
    found = cases(one, first.key, other, second.key)
    _counts(found, first, second, len(one.labels))
    kind = _kind(found)
    where = order(_of_class(found[kind], one.labels), one, first.key, other, second.key)
    if not len(where):
        st.caption("There are none.")
        return
    pages = -(-len(where) // SHOWN)
    number = 1
    if pages > 1:
        number = min(max(1, state.number("part", 1)), pages)
        st.number_input(f"Part, of {pages}", 1, pages, width=140, **state.bound("part", "compare-part", number))
    part = where[(number - 1) * SHOWN : number * SHOWN]
    _samples(str(tests[first.run]), part, [(first, one), (second, other)])
    _every(part, networks, kept)


def _counts(found: Mapping[str, np.ndarray], first: Network, second: Network, n: int) -> None:
    b, c = int(found["first"].sum()), int(found["second"].sum())
    tested = paired_test(b, c, n)
    word = "within noise" if tested.is_noise else "more than noise"
    st.markdown(
        f"Of {n:,} samples they disagree on **{int(found['all'].sum()):,}**. Only A is right on **{b:,}**, only B on "
        f"**{c:,}**: {word} (McNemar's exact test, p = {p_text(tested.p)}). Both are wrong on "
        f"{int((found['wrong'] | found['same']).sum()):,}."
    )
    table(
        [{"": "A right", "B right": n - b - c - int((found["wrong"] | found["same"]).sum()), "B wrong": b},
         {"": "A wrong", "B right": c, "B wrong": int((found["wrong"] | found["same"]).sum())}],
        alt=f"Samples by whether {first.label} and {second.label} are right", width=360,
    )


def _kind(found: Mapping[str, np.ndarray]) -> str:
    current = state.choice("show", _KINDS, next((k for k in _KINDS if found[k].any()), "all"))
    titles = {
        kind: f"{title.format(a='A', b='B')} · {int(found[kind].sum()):,}" for kind, title in _KINDS.items()
    }
    st.segmented_control(
        "Samples", list(_KINDS), format_func=titles.__getitem__, required=True,
        **state.bound("show", "compare-show", current),
    )
    return current


def _of_class(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Only those of the class that the address names."""
    there = np.unique(labels[found]).tolist()
    if len(there) < 2:
        return found
    numbers = {str(c): int((labels[found] == c).sum()) for c in there}
    options = ["", *numbers]
    current = state.choice("class", options)
    st.selectbox(
        "True class", options, width=240, format_func=lambda c: f"{c} · {numbers[c]}" if c else "Any",
        **state.bound("class", "compare-class", current, lambda value: value or None),
    )
    return found & (labels == int(current)) if current else found


def _samples(data: str, part: np.ndarray, both: Sequence[tuple[Network, Answers]]) -> None:
    run = finished("samples", {"data": data, "indices": part.tolist()}, "Reading the samples", rows=2)
    if run is None:
        return
    info, samples = store.read_result(run), store.read_arrays(run, "samples.npz")["samples"]
    captions = [_caption(int(i), both) for i in part]
    if info["kind"] == "row":
        _rows(part, samples, both)
    else:
        st.html(f'<div class="inputs">{"".join(_figures(samples, captions, info["kind"]))}</div>')
    for note in info["notes"]:
        st.caption(plain(note))


def _figures(samples: np.ndarray, captions: Sequence[tuple[str, str]], kind: str) -> list[str]:
    figures = []
    for values, (text, alt) in zip(samples, captions, strict=True):
        if kind == "image":
            seen = f'<img src="{pictures.png(pictures.sample(values))}" alt="{escaped(alt)}">'
        else:
            seen = f"<code>{escaped(' '.join(map(str, values.ravel()[:60].tolist())))}</code>"
        figures.append(f"<figure>{seen}<figcaption>{text}</figcaption></figure>")
    return figures


def _caption(sample: int, both: Sequence[tuple[Network, Answers]]) -> tuple[str, str]:
    """As HTML, and as text."""
    true = int(both[0][1].labels[sample])
    parts = [
        f"{letter}: {int(answers.predicted[n.key][sample])} ({float(answers.confidence[n.key][sample]):.2f})"
        for letter, (n, answers) in zip("AB", both, strict=True)
    ]
    marked = [f"<b>{p} ✓</b>" if int(a.predicted[n.key][sample]) == true else p
              for p, (n, a) in zip(parts, both, strict=True)]
    return f"true {true}<br>{'<br>'.join(marked)}<br>no. {sample}", f"Sample {sample}, class {true}; {'; '.join(parts)}"


def _rows(part: np.ndarray, samples: np.ndarray, both: Sequence[tuple[Network, Answers]]) -> None:
    """Samples of numbers as rows."""
    values = samples.reshape(len(samples), -1)
    most = min(values.shape[1], 30)
    table(
        [{
            "Sample": int(i), "True": int(both[0][1].labels[i]),
            **{letter: int(a.predicted[n.key][i]) for letter, (n, a) in zip("AB", both, strict=True)},
            **{f"x{j}": round(float(row[j]), 4) for j in range(most)},
        } for i, row in zip(part, values, strict=True)],
        alt="The samples' values with what both networks say",
    )
    if most < values.shape[1]:
        st.caption(f"The first {most} of {values.shape[1]:,} values are shown.")


def _every(part: np.ndarray, networks: Sequence[Network], kept: Mapping[str, Answers]) -> None:
    """What every network says of the samples, with how sure it is."""
    st.markdown(f"**What every network says of them** · {count(len(part), 'sample')}")
    labels = kept[networks[0].run].labels
    rows: list[dict[str, Any]] = []
    columns = distinct((n.label for n in networks), 28)
    for i in part.tolist():
        row: dict[str, Any] = {"Sample": i, "True": int(labels[i])}
        for n, column in zip(networks, columns, strict=True):
            answers = kept[n.run]
            said = int(answers.predicted[n.key][i])
            sign = "✓" if said == int(labels[i]) else "✗"
            row[column] = f"{said} {sign} {percent(float(answers.confidence[n.key][i]), 0)}"
        rows.append(row)
    table(rows, alt="Answers of all networks to the samples above")
    st.caption("Class, whether it is right, and the softmax probability that the network gives it.")
