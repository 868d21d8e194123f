"""Spaces of a traced model as bars in a picture: which rows each spans, and in which lane it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .levels import Row

__all__ = ["LANES", "Strand", "levels_of", "strands"]

LANES = 5


@dataclass
class Strand:
    """One space in the picture. rows: those that use it; lane: its column, None if there was no room.

    inside: how many spaces lie inside it (inside attention heads). unit: what its entries are called.
    several: how many spaces it stands for, which is one except in folded boxes.
    """

    name: str
    space: Mapping[str, Any]
    rows: list[int]
    lane: int | None = None
    inside: int = 0
    unit: str = "neuron"
    several: int = 1


def strands(result: Mapping[str, Any], shown: Sequence[Row]) -> list[Strand]:
    """The spaces as bars with a lane each; those inside one folded box share a bar, those inside heads have none."""
    place = {index: number for number, row in enumerate(shown) for index in row.levels}
    held: dict[str, list[str]] = {}
    for space in result["spaces"]:
        held.setdefault(space.get("inside") or "", []).append(space["freedom"])
    found: list[Strand] = []
    folded: dict[int, Strand] = {}
    for space in result["spaces"]:
        touched = sorted({place[i] for i in levels_of(space)})
        if space.get("inside") or not touched:
            continue
        strand = Strand(space["name"], space, touched)
        if inner := held.get(space["name"]):
            # Queries and keys, values and outputs may be changed by any linear map; channels in groups may not.
            strand.inside, strand.unit = len(inner), "head" if "gl" in inner else "block"
        if len(touched) == 1 and shown[touched[0]].repeats:
            if touched[0] in folded:
                folded[touched[0]].several += 1
                folded[touched[0]].inside = 0
                continue
            folded[touched[0]] = strand
        found.append(strand)
    _give_lanes(found)
    return found


def levels_of(space: Mapping[str, Any]) -> Sequence[int]:
    """The levels that use a space; where an older result does not say, the one that makes it."""
    alone = [] if space["level"] is None else [space["level"]]
    return space.get("levels", alone)


def _give_lanes(found: Sequence[Strand]) -> None:
    """The leftmost free lane for each: first what spans rows, from the top and the longest first, then the rest."""
    taken: list[set[int]] = [set() for _ in range(LANES)]
    for strand in sorted(found, key=lambda s: (len(s.rows) == 1, s.rows[0], -s.rows[-1])):
        span = set(range(strand.rows[0], strand.rows[-1] + 1))
        strand.lane = next((lane for lane, busy in enumerate(taken) if not busy & span), None)
        if strand.lane is not None:
            taken[strand.lane] |= span
