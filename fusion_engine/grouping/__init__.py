"""Groupings: which neurons of different parents belong together. One method a file, found by the registry."""

from .every_space import Grouped, group_every_space
from .from_labels import identity_grouping
from .network import Network
from .one_space import group, group_network

__all__ = ["Grouped", "Network", "group", "group_every_space", "group_network", "identity_grouping"]
