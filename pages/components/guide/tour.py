"""The guided tour: a bar at the foot of the page with where one is, what is there, and the way on."""

import streamlit as st

from ..shared import glossary, state
from ..shared.text import escaped
from .steps import STEPS, Step

_GOING = "tour-going"


def go(number: int) -> None:
    """To a stop, as a button's callback: the page is left as the next run begins."""
    state.put(tour=number)
    st.session_state[_GOING] = at(number).page


def at(number: int) -> Step:
    return STEPS[number - 1]


def number() -> int:
    """The stop of the address, from 1; 0 where nobody is on the tour."""
    found = state.number("tour", 0)
    return found if 1 <= found <= len(STEPS) else 0


def draw(page: str) -> None:
    """The bar, while somebody is on the tour. Buttons lead to the pages; Stop ends it anywhere."""
    going = st.session_state.pop(_GOING, page)
    if going != page:
        st.switch_page(f"pages/{going}.py")
    now = number()
    if not now:
        return
    step = at(now)
    here = page == step.page
    with st.container(key="tour"):
        text, buttons = st.columns([7, 3], vertical_alignment="center")
        text.html(_text(now, step, here))
        with buttons.container(horizontal=True, gap="small", horizontal_alignment="right"):
            if now > 1:
                _to(now - 1, "Back", "arrow_back")
            if not here:
                _to(now, "Go there", "arrow_forward", primary=True)
            elif now < len(STEPS):
                _to(now + 1, "Next", "arrow_forward", primary=True)
            st.button(
                "Stop" if now < len(STEPS) else "Done", key="tour-stop", icon=":material/close:",
                on_click=lambda: state.put(tour=None), type="primary" if here and now == len(STEPS) else "secondary",
            )
    if here and step.focus:
        look = "outline: 3px solid #E69F00 !important; outline-offset: 4px; border-radius: .4rem;"
        st.html(f"<style>{step.focus} {{ {look} }}</style>")


def _text(now: int, step: Step, here: bool) -> str:
    lacking = step.fused and not state.get("run")
    note = " <b>There is no fusion yet: go back to the first stop and press Fuse the demo.</b>" if lacking else ""
    if not here:
        note = f" <b>You have left the tour's way; this stop is on the page {escaped(step.page.title())}.</b>"
    return (
        f'<div role="status"><b>{now} of {len(STEPS)} · {escaped(step.title)}</b><br>'
        f"{glossary.marked(step.text)}{note}</div>"
    )


def _to(number: int, label: str, icon: str, primary: bool = False) -> None:
    st.button(
        label, key=f"tour-{label}", icon=f":material/{icon}:", type="primary" if primary else "secondary",
        on_click=go, args=(number,),
    )
