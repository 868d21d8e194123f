"""Training parents."""

from .networks import NETWORKS, network
from .train import train_parents

__all__ = ["NETWORKS", "network", "train_parents"]
