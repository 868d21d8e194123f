"""A network of somebody else, built again from what its weights tell."""

from __future__ import annotations

from resnets_of_others import randomised
from torch import nn

from fusion_engine.architectures import Config, build, match


def rebuilt(other: nn.Module, architecture: str, alphabetical: bool) -> tuple[nn.Module, nn.Module, Config]:
    """The network (out of its prefix), ours with its weights, and the config; every tensor is accounted for."""
    state = randomised(other).state_dict()
    if alphabetical:
        state = {key: state[key] for key in sorted(state)}
    found = match(state)
    assert found.config.name == architecture
    assert set(found.key_map.values()) == set(state)
    model = build(found.config)
    model.load_state_dict({canonical: state[key] for canonical, key in found.key_map.items()})
    network = next(iter(other.values())) if isinstance(other, nn.ModuleDict) else other
    return network, model, found.config

