"""The JSON that describes a traced network. What the store keeps of an exploration: store/shapes.py."""

from typing import TypedDict

from fusion_engine.store.shapes import ExploredLevel


class Member(TypedDict):
    tensor: str
    dims: list[int]
    role: str


class Space(TypedDict):
    """inside: the block space, such as attention heads, that holds it, or None. level: where it is made; levels: all
    that use it. sizes: one a parent."""

    name: str
    size: int
    sizes: list[int]
    freedom: str
    block: int
    inside: str | None
    level: int | None
    levels: list[int]
    members: list[Member]


class Level(ExploredLevel):
    """parameters: each counted where it is first used. spaces: all that it uses."""

    parameters: int


class Layer(TypedDict):
    name: str
    kind: str
    space: str | None
    weight: str
    shape: list[int]
    parameters: int
    level: int | None


class Structure(TypedDict):
    """Of the first parent that could be traced; parents of one architecture and width share it."""

    levels: list[Level]
    spaces: list[Space]
    layers: list[Layer]
