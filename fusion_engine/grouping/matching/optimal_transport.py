"""OT fusion: transport the parents' neurons onto each other at the least distance between their features."""

from ...core.registry import register
from ...core.types import Grouping
from ...stats import SpaceStats
from ..parameters import FeaturesParameter
from .alignment import AgainstParameter, ReferenceParameter
from .transport import Marginals, Normalise, Regularisation, transport


@register(
    "grouping",
    "optimal_transport",
    title="Optimal transport (activations)",
    citation="Singh & Jaggi 2020, OT fusion (activation-based)",
    needs={"moments": {}, "importance": {"marginals": "importance"}},
    equivariant=True,
    widths="kept",
)
def optimal_transport(
    stats: SpaceStats,
    *,
    features: FeaturesParameter = "pre",
    normalise: Normalise = True,
    marginals: Marginals = "uniform",
    regularisation: Regularisation = 0.0,
    against: AgainstParameter = "reference",
    reference: ReferenceParameter = 1,
) -> Grouping:
    """Transports each parent's neurons onto the reference's at the least summed distance between their features.

    T = argmin_T <T, C> over plans from mu to nu, C the Euclidean distances between features over the calibration
    samples; aligned features diag(1/nu) T^T f_p, averaged over the parents (Singh & Jaggi 2020, section 4). Parents may
    differ in width: the fused model is as wide as the reference (FusionError where it is not).
    """
    return transport(stats, "optimal_transport", marginals, normalise, regularisation, against, reference)
