"""Spaces of coupled neurons, built from the families of interchangeable classes of a labelled graph."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from torch import fx

from fusion_engine.core.types import Freedom, Layer, Member, Role, Site, Space

from ..captured.nodes import dependents, module_path, operator
from ..labels.algebra import Labels
from ..labels.atoms import live_dims
from ..rules.movement import PICKS
from .classes import Families, Slot, find_families
from .labeler import Labeler

_ROLES: tuple[tuple[int, Role], ...] = ((1, "out"), (-1, "in"))


def find_spaces(
    labeler: Labeler, layers: Mapping[str, Layer]
) -> tuple[dict[str, Space], dict[str, Layer], list[tuple[str, str]]]:
    """Spaces in dependency order, the layers with their spaces, and (tensor, reason) of frozen dimensions."""
    families = find_families(labeler.algebra.atoms, labeler.slots)
    builder = _Builder(labeler, families)
    spaces = [builder.space(neurons) for neurons in families.movable]
    producers = {layer.name: _output_member(layer) for layer in layers.values()}
    order = {name: i for i, name in enumerate(labeler.slots)}

    def depth(space: Space) -> tuple[int, bool, int, int]:
        """Blocks come before what is in them, be these blocks themselves: whoever merges depends on it."""
        outs = [m for m in space.members if m.role == "out"] or list(space.members)
        first = min(outs, key=lambda m: (order[m.tensor], m.dims))
        return order[first.tensor], not space.block, int(first.index.min()), -first.index.shape[1]

    spaces.sort(key=depth)
    made = {s.name: s for s in _named(spaces, layers, producers, order)}
    found = {
        name: replace(layer, space=next((s.name for s in made.values() if _produces(s, producers[name])), None))
        for name, layer in layers.items()
    }
    graph = labeler.capture.graph
    labeler.warnings += _picked(labeler, families, {p: name for name, p in producers.items()}, made.values())
    return (
        {name: _with_features(space, found, producers, graph) for name, space in made.items()},
        found,
        _frozen(labeler, families),
    )


def _output_member(layer: Layer) -> tuple[str, int]:
    """Weight of a layer and the dimension of its outputs."""
    return layer.weight, 1 if layer.options.get("transposed") else 0


def _produces(space: Space, output: tuple[str, int]) -> bool:
    weight, dim = output
    return any(m.tensor == weight and m.role == "out" and dim in m.dims for m in space.members)


def _named(
    spaces: list[Space], layers: Mapping[str, Layer], producers: Mapping[str, tuple[str, int]], order: Mapping[str, int]
) -> list[Space]:
    """Names: the first producing layer's, else the first tensor's owner; numbered where several share one."""
    named: list[Space] = []
    used: dict[str, int] = defaultdict(int)
    for space in spaces:
        producer = next((name for name in layers if _produces(space, producers[name])), None)
        first = min(space.members, key=lambda m: order[m.tensor]).tensor
        base = producer or first.removesuffix(".weight")
        named.append(replace(space, name=base if not used[base] else f"{base}#{used[base]}"))
        used[base] += 1
    return named


def _with_features(
    space: Space, layers: Mapping[str, Layer], producers: Mapping[str, tuple[str, int]], graph: fx.Graph
) -> Space:
    """Features are read where layers make the space; a residual stream, which several make, where it is summed up.
    Where no layer makes the space, at the first node that shows it."""
    additions = {node.name for node in graph.nodes if operator(node) == "add"}
    outputs = {layer.output for name, layer in layers.items() if _shows(space, producers[name])}
    made = tuple(site for site in space.sites if site.node in outputs)
    sums = tuple(site for site in space.sites if site.node in additions)
    if len(made) > 1 and sums:
        # A stream is summed up from all layers that make it; turned queries (rotary positions) are sums of their own.
        ends = {site.node for site in sums}
        if all(dependents(graph, {site.node}) & ends for site in made):
            made = sums
    return replace(space, features=made or space.sites[:1])


def _shows(space: Space, output: tuple[str, int]) -> bool:
    """Whether a layer's outputs are neurons of the space, be it against their direction (keys of an attention)."""
    weight, dim = output
    against = any(m.tensor == weight and m.role == "in" and m.dims == (dim,) for m in space.members)
    return against or _produces(space, output)


class _Builder:
    """Makes Space objects out of families."""

    def __init__(self, labeler: Labeler, families: Families) -> None:
        self.labeler, self.families = labeler, families
        self.atoms = labeler.algebra.atoms
        self.roots, self.sign_of = self.atoms.table()
        self.order = {name: i for i, name in enumerate(labeler.slots)}
        self.signs: dict[Slot, np.ndarray] = {}
        self.read_at: list[tuple[Site, dict[int, list[int]]]] = []
        self.sites_of: dict[int, set[int]] = defaultdict(set)
        for node in labeler.capture.graph.nodes:  # in graph order, which sites keep
            found = labeler.labels.get(node) if node.name in labeler.activations else None
            for layer in found.layers if isinstance(found, Labels) and node.op == "call_function" else []:
                at: dict[int, list[int]] = defaultdict(list)
                for position, root in enumerate(self.roots[layer].ravel().tolist()):
                    at[root].append(position)
                for root in at:
                    self.sites_of[root].add(len(self.read_at))
                place = Site(node.name, module_path(node), tuple(sorted(live_dims(layer))), np.empty((0, 0)))
                self.read_at.append((place, at))

    def space(self, neurons: list[list[int]]) -> Space:
        """The space of a family; its name is set later."""
        block = len(neurons[0]) > 1
        flags = set().union(*(self.atoms.flags(r) for neuron in neurons for r in neuron))
        freedom: Freedom = "perm" if block or "perm" in flags else "orth" if "orth" in flags else "gl"
        return Space("", len(neurons), freedom, tuple(self._members(neurons)), tuple(self._sites(neurons)), block)

    def _members(self, neurons: list[list[int]]) -> list[Member]:
        slots = {slot for r in neurons[0] for slot in self.families.positions.get(r, ())}
        members = []
        for name, number in sorted(slots, key=lambda slot: (self.order[slot[0]], slot[1])):
            layer, signs = self.labeler.slots[name][number], self._signs(name, number)
            owned = [
                np.array(
                    [p for r in neuron for p in self.families.positions[r].get((name, number), ())], dtype=np.int64
                )
                for neuron in neurons
            ]
            dims = tuple(sorted(live_dims(layer)))
            # A fused projection holds rows that move with the neuron (queries) and rows that move against it (keys).
            for sign, role in _ROLES:
                index = _stacked([p[signs[p] == sign] for p in owned])
                if index is not None:
                    members.append(Member(name, dims, index, role))
        return [m for m in members if not any(self._implied(m, other) for other in members)]

    def _signs(self, name: str, number: int) -> np.ndarray:
        if (name, number) not in self.signs:
            layer = self.labeler.slots[name][number]
            self.signs[name, number] = self.sign_of[layer.ravel()]
        return self.signs[name, number]

    def _implied(self, member: Member, other: Member) -> bool:
        """Whether moving `other` moves `member` along, as a group's rows in a grouped convolution carry its inputs."""
        if member.tensor != other.tensor or not set(other.dims) < set(member.dims):
            return False
        layers = self.labeler.slots[member.tensor]
        layer = next(x for x in layers if tuple(sorted(live_dims(x))) == member.dims)
        coordinates = np.unravel_index(member.index, [layer.shape[d] for d in member.dims])
        rows = coordinates[member.dims.index(other.dims[0])]
        return all(np.isin(own, carried).all() for own, carried in zip(rows, other.index, strict=True))

    def _sites(self, neurons: list[list[int]]) -> list[Site]:
        numbers = sorted(set().union(*(self.sites_of[r] for r in neurons[0])))
        sites = []
        for place, at in (self.read_at[i] for i in numbers):
            index = _stacked([np.array([p for r in neuron for p in at.get(r, ())]) for neuron in neurons])
            if index is not None:
                sites.append(replace(place, index=index))
        return sites


def _stacked(rows: list[np.ndarray]) -> np.ndarray | None:
    """(n, k) index; None where neurons own no or unequal numbers of entries."""
    return np.stack(rows).astype(np.int64) if len({len(r) for r in rows}) == 1 and rows[0].size else None


def _frozen(labeler: Labeler, families: Families) -> list[tuple[str, str]]:
    reasons: dict[tuple[str, str], None] = {}
    for slots, colours in families.frozen:
        tags = sorted({str(colour[0]).split(".")[0] for colour in colours})
        for tag in tags or ["entangled"]:
            for slot in slots:
                reasons[slot[0], _reason(labeler, tag)] = None
    return sorted(reasons)


def _picked(
    labeler: Labeler, families: Families, layers: Mapping[tuple[str, int], str], spaces: Iterable[Space]
) -> list[str]:
    """Layers whose outputs are picked out one by one (gates, experts) and lie in no space: a line each. layers: by
    weight and dimension of its outputs."""
    nodes = {node.name: node for node in labeler.capture.graph.nodes}
    moved = {(m.tensor, d) for space in spaces for m in space.members for d in m.dims}
    found: dict[str, None] = {}
    for slots, colours in families.frozen:
        tags = {str(colour[0]).split(".")[0] for colour in colours}
        picks = sorted(operator(nodes[tag]) for tag in tags if tag in nodes and operator(nodes[tag]) in PICKS)
        made = {(name, d) for name, number in slots for d in live_dims(labeler.slots[name][number])} - moved
        for output in made & layers.keys() if picks and "output" not in tags else ():
            found[f"outputs of {layers[output]!r} are picked out by position ({picks[0]!r}): they stay in place, not "
                  "grouped but averaged one by one"] = None  # fmt: skip
    return sorted(found)


def _reason(labeler: Labeler, tag: str) -> str:
    if tag == "output":
        return "output of the model"
    node = next((n for n in labeler.capture.graph.nodes if n.name == tag), None)
    if node is None:
        return "neurons that move in several blocks at once"
    where = module_path(node)
    return f"position matters to {operator(node)!r}" + (f" in {where!r}" if where else "")
