"""What a leaderboard is going to run, a row at a time. Imports no torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

REFERENCES = "references"
"""Key of the row that holds the models every comparison shows."""


@dataclass(frozen=True)
class Row:
    """One fusion of the plan.

    key: digest of all that the result depends on; the same key is the same result. importance: the method's name.
    own: whether it is the preset's own importance. seed: None in a row that cannot run. recipe: as a mapping, with
    all defaults. reason: why it cannot run; '' if it can.
    """

    key: str
    preset: str
    title: str
    importance: str
    own: bool
    seed: int | None
    recipe: Mapping[str, Any]
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values; `Row(**row.as_json())` gives the row back."""
        return asdict(self)

    @property
    def label(self) -> str:
        """See `label`."""
        return label(vars(self))


def label(row: Mapping[str, Any]) -> str:
    """A row's preset, with the importance where it is not the preset's own."""
    return str(row["preset"]) if row["own"] else f"{row['preset']}, {row['importance']}"


def kept_rows(digest: str, plan: Sequence[Row], rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of the rows of an earlier run those that are done and belong to this plan, by key. digest: of the inputs."""
    known = {REFERENCES: digest, **{row.key: None for row in plan}}
    good = [row for row in rows if row["state"] == "done" and row["key"] in known]
    return {row["key"]: dict(row) for row in good if row.get("inputs") == known[row["key"]]}
