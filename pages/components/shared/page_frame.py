"""What every page has around it: the job service, the URL's state, one line for an error."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError, StoreError
from fusion_engine.jobs import client

from . import glossary, state
from .text import plain

_ERROR = ":material/error:"


@contextmanager
def frame(page: str) -> Iterator[None]:
    """Run a page's script inside the app's frame; errors a user can cause become one line, never a traceback."""
    state.restore(page)
    with told():
        try:
            client.ensure_running(wait=False)
            yield
        except StoreError as error:
            st.error(plain(error), icon=_ERROR)
            st.button("Start afresh", on_click=state.clear, help="Forget what this address refers to.")


@contextmanager
def told() -> Iterator[None]:
    """Show what a user can cause as one line and go on after the block."""
    try:
        yield
    except FusionError as error:
        st.error(plain(error), icon=_ERROR)


def existing(read: Callable[..., Any], *arguments: Any) -> Any:
    """What `read` gives; None where what it is to read is no longer there."""
    try:
        return read(*arguments)
    except FusionError:
        return None


def job_of(run: str, *kinds: str) -> Any:
    """The job of an id that an address names, if it is of one of these kinds.

    Raises StoreError where it is of another, or where there is none.
    """
    job = store.read_job(run)
    if job["kind"] not in kinds:
        raise StoreError(f"this address names something else: {run} is a job of the kind {job['kind']}, not {kinds[0]}")
    return job


def heading(title: str, lead: str) -> None:
    """A page's title, and a sentence on what it is for, with words of the glossary in [brackets]."""
    st.title(title, anchor=False)
    st.html(f'<p class="lead">{glossary.marked(lead)}</p>')


def empty(message: str, page: str, label: str) -> NoReturn:
    """An empty state: what is missing and the link to where it is made. Ends the page."""
    with st.container(border=True, key="empty"):
        st.markdown(message)
        st.page_link(f"pages/{page}.py", label=label, icon=":material/arrow_forward:")
    st.stop()


def next_steps(parameters: Mapping[str, str] | None = None, /, **links: str) -> None:
    """Links to other pages in a row: next_steps(explore="See the neurons"). parameters: for their address."""
    with st.container(horizontal=True, gap="medium"):
        for page, label in links.items():
            st.page_link(
                f"pages/{page}.py", label=label, icon=":material/arrow_forward:", query_params=dict(parameters or {})
            )
