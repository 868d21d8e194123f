"""A run's name, tags and note, to be read and changed wherever runs are listed."""

from collections.abc import Sequence

import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.store.described.about import LONGEST_NAME, LONGEST_NOTE

from ..shared.text import plain


def popover(run: str, place: str, known: Sequence[str] | None = None) -> None:
    """A button that opens the form. place: where it stands, as a run may be listed twice. known: tags to offer; None:
    those of all runs."""
    with st.popover("Name, tags, note", icon=":material/label:", type="tertiary", key=f"describe-{place}-{run}"):
        _form(run, place, store.tags_in_use() if known is None else known)


def _form(run: str, place: str, known: Sequence[str]) -> None:
    about = store.read_about(run)
    key = f"{place}-{run}"
    problem = f"problem-{key}"

    def save() -> None:
        values = {part: st.session_state[f"{part}-{key}"] for part in ("name", "tags", "note")}
        try:
            store.describe_run(run, **values)
            st.session_state.pop(problem, None)
        except FusionError as error:
            st.session_state[problem] = str(error)

    with st.form(f"about-{key}", border=False):
        st.text_input("Name", about["name"], max_chars=LONGEST_NAME, key=f"name-{key}", placeholder="its recipe's")
        st.multiselect(
            "Tags", sorted({*known, *about["tags"]}, key=str.casefold), about["tags"], key=f"tags-{key}",
            accept_new_options=True, placeholder="Choose or type tags",
        )
        st.text_area("Note", about["note"], max_chars=LONGEST_NOTE, key=f"note-{key}", height=120)
        st.form_submit_button("Save", on_click=save, icon=":material/check:")
    if problem in st.session_state:
        st.error(plain(st.session_state[problem]))


def line(run: str) -> None:
    """Tags and note of a run in a line or two; nothing where it has none."""
    about = store.read_about(run)
    if about["tags"]:
        st.markdown(" ".join(f":blue-badge[{plain(tag)}]" for tag in about["tags"]))
    if about["note"]:
        st.text(about["note"])
