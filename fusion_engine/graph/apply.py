"""Where `permute_state` is imported from by programs that use the engine."""

from .states.transforms import permute_state, transform_state

__all__ = ["permute_state", "transform_state"]
