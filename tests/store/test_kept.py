"""Texts that addresses name by their digest."""

import pytest

from fusion_engine import store
from fusion_engine.core.errors import StoreError


def test_a_text_is_kept_by_its_content_and_kind() -> None:
    digest = store.keep_text("selection", "0:1,0:3")
    assert store.keep_text("selection", "0:1,0:3") == digest
    assert store.keep_text("selection", "0:1") != digest
    assert store.read_text("selection", digest) == "0:1,0:3"
    with pytest.raises(StoreError, match="names as edits"):
        store.read_text("edits", digest)


@pytest.mark.parametrize("digest", ["f" * 32, "../../etc/passwd", ""])
def test_a_text_that_is_not_there(digest: str) -> None:
    with pytest.raises(StoreError):
        store.read_text("selection", digest)


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(StoreError, match="too long"):
        store.keep_text("edits", "x" * (2**20 + 1))
