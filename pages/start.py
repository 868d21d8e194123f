"""Start: one button leads to a fused network, explained in a sentence a step."""

from pathlib import Path

import streamlit as st

from fusion_engine import store
from fusion_engine.teaching.shipped_lessons import demo_barrier
from pages.components.analysis.analysis_charts import path_chart
from pages.components.run import charts, demo, reports
from pages.components.run.downloads import download
from pages.components.run.story import story
from pages.components.shared import glossary, router, state
from pages.components.shared.page_frame import next_steps
from pages.components.shared.tables import folded_table
from pages.components.shared.text import percent
from pages.components.shared.theme import show

PICTURE = Path(__file__).parent / "components/shared/fusion.svg"


def draw_hero(started: bool) -> None:
    text, picture = st.columns([11, 9], gap="large", vertical_alignment="center")
    with text:
        st.title("Fuse trained networks, neuron by neuron", anchor=False)
        st.html(
            '<p class="lead">Two to eight networks that were trained apart know different things. This lab groups '
            "the neurons that do the same work, merges them into <b>one</b> network of the same size, and shows you "
            "why the result is good or bad.</p>"
        )
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            st.button(
                "Fuse the demo again" if started else "Fuse the demo", type="secondary" if started else "primary",
                on_click=demo.begin, icon=":material/play_arrow:", key="fuse-demo",
            )
            if not started:
                st.caption("Small networks for handwritten digits. Nothing to fill in; a few seconds.")
    picture.image(
        PICTURE, width="stretch",
        alt="Two small networks with matching neurons in different places are merged into one network",
    )


def draw_story(run: str) -> None:
    report = store.read_report(run)
    parents = store.read_parents_summary(store.read_job(run)["arguments"]["parents"])
    models = reports.models(report)
    st.header("What happened", anchor=False)
    words, chart = st.columns([11, 9], gap="large")
    with words:
        steps = story(report, parents)
        st.html("".join(
            f'<div class="step"><span class="n">{n}</span><span>{s}</span></div>' for n, s in enumerate(steps, 1)
        ))
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            download(run, "fused.safetensors", "Download the fused network", primary=True)
        next_steps(explore="See the neurons", compare="Compare in detail", fuse="Try another recipe")
    with chart:
        st.markdown("**Accuracy on samples none of them has seen**")
        alt = "; ".join(f"{m.label} {100 * m.accuracy:.1f} %" for m in models if m.accuracy is not None)
        show(charts.accuracy_bars(models), f"Bar chart of accuracies: {alt}", key="story-chart")
        folded_table(
            {"Network": [m.label for m in models],
             "Accuracy %": [None if m.accuracy is None else round(100 * m.accuracy, 2) for m in models]},
            alt="Accuracy of each network",
        )


def draw_barrier() -> None:
    """Two of the demo's parents blended into each other, as they are and with their neurons matched: measured by the
    engine when the program was made."""
    pair = demo_barrier()
    before, after = pair["as_is"], pair["aligned"]
    middle = len(before["accuracy"]) // 2
    with st.container(key="barrier"):
        st.header("Why not simply average them?", anchor=False)
        words, chart = st.columns([8, 12], gap="large")
        with words:
            lead = glossary.marked(
                f"Half-way between two of the demo's [parents] the network gets {percent(before['accuracy'][middle])} "
                f"right: a [barrier] lies between them. With like neurons in like places ([matching]) it gets "
                f"{percent(after['accuracy'][middle])}."
            )
            st.html(f'<p class="lead">{lead}</p>')
            st.page_link(
                "pages/learn.py", label="See why, in ten short chapters", icon=":material/school:",
                query_params={"chapter": "problem"},
            )
        with chart:
            show(
                path_chart(pair, "accuracy"),
                f"Accuracy on the way from {pair['first']} to {pair['second']}: half-way "
                f"{percent(before['accuracy'][middle])} as they are, {percent(after['accuracy'][middle])} matched",
                key="barrier-chart",
            )
            folded_table(
                [{"Way %": round(100 * a), "As they are %": round(100 * b, 1), "Aligned %": round(100 * c, 1)}
                 for a, b, c in zip(before["alphas"], before["accuracy"], after["accuracy"], strict=True)],
                alt="Accuracy along the way between two of the demo's parents",
            )


def draw_cards() -> None:
    st.space("small")
    left, right = st.columns(2, gap="medium")
    with left.container(border=True, height="stretch"):
        st.subheader("Bring your own parents", anchor=False)
        st.markdown("Upload two to eight checkpoints of one architecture (safetensors, .pt and others) and some data.")
        st.page_link(
            "pages/parents.py", label="Upload parents", icon=":material/upload:", query_params={"load": "upload"}
        )
    with right.container(border=True, height="stretch"):
        st.subheader("Train a demo set", anchor=False)
        st.markdown("Choose an architecture and how the digits are split; the networks train in a few seconds.")
        st.page_link(
            "pages/parents.py", label="Train parents", icon=":material/model_training:", query_params={"load": "train"}
        )


router.enter()
begun = state.get("demo")
draw_hero(bool(begun))
if begun and (run := demo.follow_demo(begun)):
    draw_story(run)
draw_barrier()
draw_cards()
