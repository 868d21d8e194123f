"""Parameters that several groupings have in common."""

from typing import Annotated, Literal

from ..core.registry import Param

Features = Literal["post", "pre"]
FeaturesParameter = Annotated[
    Features, Param("what neurons are compared by: their values behind the activation function, or before it")
]
Weights = Literal["uniform", "importance"]
WeightsParameter = Annotated[
    Weights, Param("how parents are weighted in a fused neuron: equally, or by the importance of their neurons")
]
