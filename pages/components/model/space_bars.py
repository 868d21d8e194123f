"""Spaces of a traced model as bars in a picture: which rows each spans, and in which lane it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .level_rows import Row

LANES = 5
FREEDOM = {"perm": "permutations", "orth": "rotations", "gl": "any linear map"}
"""What may be done to a space's neurons without changing the function."""


@dataclass
class SpaceBar:
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


def space_bars(result: Mapping[str, Any], shown: Sequence[Row]) -> list[SpaceBar]:
    """The spaces as bars with a lane each; those inside one folded box share a bar, those inside heads have none."""
    place = {index: number for number, row in enumerate(shown) for index in row.levels}
    held: dict[str, list[str]] = {}
    for space in result["spaces"]:
        held.setdefault(space.get("inside") or "", []).append(space["freedom"])
    bars: list[SpaceBar] = []
    folded: dict[int, SpaceBar] = {}
    for space in result["spaces"]:
        touched = sorted({place[i] for i in levels_of(space)})
        if space.get("inside") or not touched:
            continue
        bar = SpaceBar(space["name"], space, touched)
        if inner := held.get(space["name"]):
            # Queries and keys, values and outputs may be changed by any linear map; channels in groups may not.
            bar.inside, bar.unit = len(inner), "head" if "gl" in inner else "block"
        if len(touched) == 1 and shown[touched[0]].repeats:
            if touched[0] in folded:
                folded[touched[0]].several += 1
                folded[touched[0]].inside = 0
                continue
            folded[touched[0]] = bar
        bars.append(bar)
    _give_lanes(bars)
    return bars


def levels_of(space: Mapping[str, Any]) -> Sequence[int]:
    """The levels that use a space; where an older result does not say, the one that makes it."""
    alone = [] if space["level"] is None else [space["level"]]
    return space.get("levels", alone)


def _give_lanes(bars: Sequence[SpaceBar]) -> None:
    """The leftmost free lane for each: first what spans rows, from the top and the longest first, then the rest."""
    taken: list[set[int]] = [set() for _ in range(LANES)]
    for bar in sorted(bars, key=lambda s: (len(s.rows) == 1, s.rows[0], -s.rows[-1])):
        span = set(range(bar.rows[0], bar.rows[-1] + 1))
        bar.lane = next((lane for lane, busy in enumerate(taken) if not busy & span), None)
        if bar.lane is not None:
            taken[bar.lane] |= span
