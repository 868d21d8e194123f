"""What a traced model is made of, as JSON: levels, spaces and layers with what a picture of them needs."""


from fusion_engine.core.types import Level, Space, State
from fusion_engine.graph import Trace
from fusion_engine.store.shapes import ExploredLevel

from . import shapes
from .shapes import Structure


def described(graph: Trace, state: State, parents: int) -> Structure:
    """What a preflight says of a network.

    state: of the parent that was traced. parents: how many there are; they have one architecture.
    """
    spaces = {space.name: _levels_of(graph, space) for space in graph.spaces.values()}
    counted: set[str] = set()
    levels: list[shapes.Level] = [{**level, "parameters": 0} for level in levels_json(graph)]
    for level in levels:
        mine = {graph.aliases.get(name, (name,))[0] for name in level["tensors"]} & set(graph.parameters)
        level["parameters"] = sum(state[name].numel() for name in mine - counted)
        level["spaces"] = [name for name, touched in spaces.items() if level["index"] in touched]
        counted |= mine
    return {
        "levels": levels,
        "spaces": [_space(graph, space, parents, spaces[space.name]) for space in graph.spaces.values()],
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "space": layer.space,
                "weight": layer.weight,
                "shape": list(state[layer.weight].shape),
                "parameters": sum(
                    state[name].numel() for name in (layer.weight, layer.bias) if name is not None
                ),
                "level": next((level.index for level in graph.levels if layer.name in level.layers), None),
            }
            for layer in graph.layers.values()
        ],
    }


def levels_json(graph: Trace) -> list[ExploredLevel]:
    """JSON-able description of the levels."""
    return [
        {
            "index": level.index,
            "name": level.name,
            "layers": list(level.layers),
            "tensors": list(level.tensors),
            "output_shape": None if level.output_shape is None else list(level.output_shape),
        }
        for level in graph.levels
    ]


def _space(graph: Trace, space: Space, parents: int, levels: list[int]) -> shapes.Space:
    return {
        "name": space.name,
        "size": space.size,
        "sizes": [space.size] * parents,
        "freedom": space.freedom,
        "block": space.block,
        "inside": next((nest.block for nest in graph.nests.values() if space.name in nest.inside), None),
        "level": graph.level_of(space),
        "levels": levels,
        "members": [{"tensor": m.tensor, "dims": list(m.dims), "role": m.role} for m in space.members],
    }


def _levels_of(graph: Trace, space: Space) -> list[int]:
    """Indices of the levels that use one of the space's tensors."""
    tensors = {name for m in space.members for name in graph.aliases.get(m.tensor, (m.tensor,))}
    return [level.index for level in graph.levels if _shares(level, tensors)]


def _shares(level: Level, tensors: set[str]) -> bool:
    return not tensors.isdisjoint(level.tensors)
