"""Identity: neuron i of every parent belongs together. What plain weight averaging assumes."""

from ..core.registry import register
from ..core.types import Grouping
from ..stats import SpaceStats
from .from_labels import identity_grouping


@register("grouping", "identity", title="Identity", citation="plain weight averaging", needs=(), pairs=True)
def identity(stats: SpaceStats) -> Grouping:
    """No matching: neuron i of every parent forms group i, all parents weighted equally.

    stats: any; only the widths are read, which must be equal (FusionError otherwise). merge[p] = I / k.
    """
    return identity_grouping(stats.space, stats.sizes, stats.size)
