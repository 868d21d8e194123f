"""Names that users give to neurons."""

import pytest

from fusion_engine import store
from fusion_engine.core.errors import StoreError

PARENTS = "a" * 32


def test_labels_are_given_changed_and_taken_away() -> None:
    store.save_label(PARENTS, "fc1", " edges ", ["0:1", "1:2"])
    store.save_label(PARENTS, "fc1", "corners", ["0:4"])
    store.save_label(PARENTS, "fc2", "other", ["0:0"])
    store.save_label(PARENTS, "fc1", "edges", ["0:7"])
    assert store.read_labels(PARENTS, "fc1") == [
        {"name": "corners", "neurons": ["0:4"]}, {"name": "edges", "neurons": ["0:7"]},
    ]
    store.save_label(PARENTS, "fc1", "corners", [])
    assert [label["name"] for label in store.read_labels(PARENTS, "fc1")] == ["edges"]
    assert len(store.read_labels(PARENTS, "fc2")) == 1


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "two\nlines"])
def test_a_label_is_a_short_line(name: str) -> None:
    with pytest.raises(StoreError, match="1 to 80 characters on one line"):
        store.save_label(PARENTS, "fc1", name, ["0:1"])
    assert store.read_labels(PARENTS, "fc1") == []


def test_labels_are_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_engine.store.labels._MOST_LABELS", 2)
    for name in "ab":
        store.save_label(PARENTS, "fc1", name, ["0:1"])
    store.save_label(PARENTS, "fc1", "b", ["0:2"])
    with pytest.raises(StoreError, match="2 labels already"):
        store.save_label(PARENTS, "fc1", "c", ["0:1"])
