"""Joint moments of the parents' neurons in every space, as the tables are computed from."""

from collections.abc import Mapping, Sequence

import numpy as np

from fusion_engine.core.progress import Progress
from fusion_engine.core.types import Grouping
from fusion_engine.data import Dataset
from fusion_engine.graph import Trace
from fusion_engine.grouping.heads import inner_stats
from fusion_engine.parents import Parent
from fusion_engine.stats import (
    FeatureMoments,
    SharedStatistics,
    SpaceStats,
    Wanted,
    feature_sites,
    fitting_batch,
    grouping_sites,
    read_moments,
    space_stats,
)

Importance = Mapping[str, Sequence[np.ndarray]]


def joint_stats(
    graph: Trace,
    parents: Sequence[Parent],
    data: Dataset,
    importance: Importance,
    groupings: Mapping[str, Grouping],
    shared: SharedStatistics,
    *,
    seed: int,
    progress: Progress,
) -> dict[str, SpaceStats]:
    """Joint moments of all spaces, in one pass.

    Inside attention heads the neurons of the heads that met are shown together, as they were grouped.
    """
    met = {name for name, grouping in groupings.items() if "sources" in grouping.info}
    sites = {name: places for name, places in feature_sites(graph).items() if name not in met}
    if met:  # what they are shown by: every entry of the heads
        sites |= {key: places for key, places in grouping_sites(graph).items() if key not in graph.spaces}
    states, size = [p.state for p in parents], fitting_batch(graph, copies=len(parents))

    def read(gathered: FeatureMoments) -> None:
        read_moments(gathered, graph, states, data, batch_size=size, progress=progress)

    moments = shared.moments(Wanted(graph, states, data, sites, size, precision="double", points=True), read)
    stats = {}
    for name in feature_sites(graph):
        if name in met:
            sources = groupings[name].info["sources"]
            theirs = [importance[source][p] for p, source in enumerate(sources)]
            heads = groupings[name].info.get("heads", ())
            stats[name] = inner_stats(graph, name, sources, moments, theirs, seed, heads)
            continue
        found = moments[name]
        scores = importance[name]
        stats[name] = space_stats(
            found,
            space=name,
            sizes=tuple(len(s) for s in scores),
            importance=tuple(np.asarray(s, np.float64) for s in scores),
            size=groupings[name].size,
            seed=seed,
            freedom=graph.spaces[name].freedom,
        )
    return stats
