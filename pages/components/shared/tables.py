"""Tables as the pages show them: without an index, with a text that says what they hold."""

from collections.abc import Sequence
from typing import Any

import streamlit as st


def table(rows: Any, alt: str, numbers: Sequence[str] = (), **options: Any) -> Any:
    """Rows (mappings) or columns as a table. numbers: columns of large numbers, written with separators."""
    if numbers:
        options["column_config"] = {name: st.column_config.NumberColumn(format="localized") for name in numbers}
    return st.dataframe(rows, hide_index=True, alt=alt, **options)


def folded_table(rows: Any, alt: str, numbers: Sequence[str] = ()) -> None:
    """The same as the chart above it, as a table on demand."""
    with st.expander("As a table"):
        table(rows, alt, numbers)
