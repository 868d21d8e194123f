"""An edit of a grouping: which neurons move, merge, split off, lead their group or leave. A part of the recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ..errors import FusionError, RecipeError
from ..neurons import Neuron, read_neurons
from ..registry import nearest
from ..strict_yaml import load_strict

Kind = Literal["move", "merge", "split", "pin", "exclude"]
EDITS_LIMIT: Final = 4 * 2**20
"""Largest file of edits that is read (bytes)."""
_MOST_EDITS = 10_000
_MOST_NEURONS = 100_000
_LONGEST = 300  # characters of one neuron's name


class Edit(BaseModel):
    """One change of the grouping of a space. Groups are named by a neuron in them, never by number.

    move      the neurons join the group of the neuron `to`
    merge     the groups of the neurons become one, in the first one's slot; the other slots are free then
    split     the neurons leave their groups and form one, in the lowest free slot
    pin       the group's fused neuron follows these neurons alone; its other neurons are read from it all the same. It
              holds until the neuron leaves the group
    exclude   the neurons leave their groups and shape nothing

    neurons: 'parent:index', the parent's name or number, from 0; ranges 'parent:3-7'. The number of groups is the fused
    width, which no edit changes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    edit: Kind
    space: str
    neurons: tuple[str, ...]
    to: str | None = None

    @field_validator("neurons", mode="before")
    @classmethod
    def _read_neurons(cls, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple) or not value:
            raise ValueError("name neurons as a list of 'parent:index'")
        return tuple(_text(item) for item in value)

    @field_validator("to", mode="before")
    @classmethod
    def _read_to(cls, value: Any) -> str | None:
        return None if value is None else _text(value)

    @classmethod
    def read(cls, value: Any, where: str) -> Edit:
        """An Edit from YAML's form; RecipeError, which begins with `where`, otherwise."""
        if isinstance(value, Edit):
            return value
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}: an edit is a mapping such as {{edit: move, space: fc1, neurons: ['0:17'], "
                              "to: '1:3'}")  # fmt: skip
        for key in value:
            if key not in cls.model_fields:
                raise RecipeError(f"{where} has an unknown key {key!r}{nearest(str(key), cls.model_fields)}")
        kind = value.get("edit")
        if kind not in get_args(Kind):
            raise RecipeError(f"{where}: there is no edit {kind!r}{nearest(str(kind), get_args(Kind))}")
        try:
            edit = cls(**value)
        except ValidationError as error:
            first = error.errors()[0]
            words = first["msg"].removeprefix("Value error, ")
            raise RecipeError(f"{where}: {'.'.join(map(str, first['loc']))}: {words}") from None
        if (edit.edit == "move") != (edit.to is not None):
            line = "name a neuron of the group to join with 'to'" if edit.to is None else "only move has 'to'"
            raise RecipeError(f"{where}: {line}")
        return edit

    def written(self) -> dict[str, Any]:
        """The YAML form."""
        found: dict[str, Any] = {"edit": self.edit, "space": self.space, "neurons": list(self.neurons)}
        return found if self.to is None else {**found, "to": self.to}

    @property
    def members(self) -> tuple[Neuron, ...]:
        """The neurons of a `resolved` edit."""
        return tuple(read_number(text) for text in self.neurons)


def read_number(text: str) -> Neuron:
    """The neuron that '0:17' names; of a `resolved` edit."""
    parent, _, index = text.partition(":")
    return Neuron(int(parent), int(index))


def read_edits(value: Any, where: str = "edits") -> tuple[Edit, ...]:
    """Edits from a list in YAML's form. RecipeError in one line that says which is wrong, or that there are more than
    10,000, or more than 100,000 neurons in them."""
    if isinstance(value, str | Mapping) or not isinstance(value, list | tuple):
        raise RecipeError(f"{where}: give a list of edits")
    if len(value) > _MOST_EDITS:
        raise RecipeError(f"{where}: {len(value):,} are too many; at most {_MOST_EDITS:,} are read")
    edits, named = [], 0
    for i, item in enumerate(value):
        edits.append(Edit.read(item, f"{where}.{i}"))
        named += len(edits[-1].neurons)
        if named > _MOST_NEURONS:
            raise RecipeError(f"{where}: they name more than {_MOST_NEURONS:,} neurons")
    return tuple(edits)


def edits_from_text(text: str, name: str = "edits") -> tuple[Edit, ...]:
    """Edits from YAML or JSON text: a list, or a mapping with the one key 'edits'. name: of the file, for errors."""
    value = load_strict(text, name)
    if isinstance(value, Mapping):
        if list(value) != ["edits"]:
            raise RecipeError(f"{name}: a file of edits holds a list, or a mapping with the one key 'edits'")
        value = value["edits"]
    return read_edits([] if value is None else value, name)


def resolved(
    edits: Sequence[Edit],
    names: Sequence[str],
    sizes: Mapping[str, Sequence[int]],
    refused: Mapping[str, str] | None = None,
) -> tuple[Edit, ...]:
    """The edits with their neurons written by numbers and one by one, '0:17', once each: what is kept and applied.

    names: the parents'. sizes: by space, neurons of every parent. refused: why a space's grouping cannot be edited, by
    space. FusionError in one line for a space, parent or neuron that is not there.
    """
    twice = {name for name, count in Counter(names).items() if count > 1}
    found, total = [], 0
    for number, edit in enumerate(edits):
        where = f"edits.{number}"
        if edit.space not in sizes:
            raise FusionError(f"{where}: there is no space {edit.space!r}{nearest(edit.space, sizes)}")
        if refused and edit.space in refused:
            raise FusionError(f"{where}: {refused[edit.space]}")
        given = [*edit.neurons, *([] if edit.to is None else [edit.to])]
        for text in given:
            if text.rpartition(":")[0] in twice:
                raise FusionError(f"{where}: {text!r}: several parents have this name; write the parent's number, 0:17")
        try:
            neurons = read_neurons(edit.neurons, names, sizes[edit.space])
            to = [] if edit.to is None else read_neurons([edit.to], names, sizes[edit.space])
        except FusionError as error:
            raise FusionError(f"{where}: space {edit.space!r}: {error}") from None
        if len(to) > 1:
            raise FusionError(f"{where}: 'to' is one neuron, not {len(to)}")
        total += len(neurons)
        if total > _MOST_NEURONS:
            raise FusionError(f"edits: they name more than {_MOST_NEURONS:,} neurons")
        made = {"neurons": tuple(map(str, neurons)), "to": str(to[0]) if to else None}
        found.append(edit.model_copy(update=made))
    return tuple(found)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a neuron; write 'parent:index' in quotes, for example '0:17'")
    if not value or len(value) > _LONGEST:
        raise ValueError("a neuron is written 'parent:index', for example '0:17'")
    return value
