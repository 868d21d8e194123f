"""OT fusion on weights: transport the parents' neurons by their incoming weights, space after space. Needs no data."""

from ...core.registry import register
from ...core.types import Grouping
from ..network import AlignedStates, Network
from .alignment import AgainstParameter, ReferenceParameter
from .transport import Marginals, Normalise, Regularisation, transport


@register(
    "grouping",
    "optimal_transport_weights",
    title="Optimal transport (weights)",
    citation="Singh & Jaggi 2020, OT fusion (weight-based)",
    needs={"weights": {}, "importance": {"marginals": "importance"}},
    equivariant=True,
    scope="network",
    widths="kept",
)
def optimal_transport_weights(
    network: Network,
    *,
    normalise: Normalise = False,
    marginals: Marginals = "uniform",
    regularisation: Regularisation = 0.0,
    against: AgainstParameter = "reference",
    reference: ReferenceParameter = 1,
) -> dict[str, Grouping]:
    """Transports each parent's neurons onto the reference's at the least distance between their incoming weights,
    aligned by the spaces before. Sees no data.

    In dependency order: C the Euclidean distances between the rows of W_p U_p, the incoming weights and biases seen in
    the fused order of the space before; then as optimal_transport (Singh & Jaggi 2020, algorithm 1). Batch norms are
    folded first. Parents may differ in width: the fused model is as wide as the reference (FusionError where not).
    """
    aligned, found = AlignedStates(network), {}
    settings = marginals, normalise, regularisation, against, reference
    for name in network.open:
        grouping = transport(aligned.incoming(name), "optimal_transport_weights", *settings)
        aligned.apply(name, [m * network.parents for m in grouping.merge], list(grouping.unmerge))
        found[name] = grouping
    return found
