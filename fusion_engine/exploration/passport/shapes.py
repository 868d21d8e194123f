"""The JSON of a passport, and what is in passport.npz. Loads nothing heavy."""

from typing import TypedDict


class SpacePassports(TypedDict):
    """Of all N neurons of a space, parents joined one after the other; S samples were read, C is the number of classes
    (1, all samples, where there are no labels), K = 8 or S.

    read: the module at whose output the neurons are read. grid: positions of a neuron's map. sample_shape: of `samples`
    as kept. kind: how a sample is shown: 'image', 'row' or 'tokens'. notes: lines for the reader. layer: whose weights
    `weights` or `incoming` are; incoming_from: the space those neurons are in, None
    for values of the input; no_weights: why there are neither.
    fused: whether there is a fused network.

    passport.npz:
      top, bottom (N, K) int64          numbers of the samples that excite a neuron most and least, the extreme first
      top_value, bottom_value (N, K) float32   and its values there, the largest over positions
      top_at, bottom_at (N, K) int32    where in its map, flat in grid
      mean, std (N, C), quantiles (N, C, 5) float32    by class; at 5, 25, 50, 75 and 95 %
      preferred (N,) int64, selectivity (N,) float32
      labels (S,) int64 (-1: none), kept (M,) int64    numbers of the samples that are shown
      samples (M, channels, height, width) uint8, or (M, ...) float32 rows, or int64 tokens
      weights (N, channels, height, width) float32    where the layer reads pixels
      incoming (N, 8) int64, incoming_weight (N, 8) float32    where it does not
      group (N,) int64 (-1: none), fused_top, fused_bottom (N, K) float32, fused_correlation (N,) float32
      values/parents (N, S) float32, values/fused (groups, S) float32
    """

    space: str
    sizes: list[int]
    sampled: int
    classes: int
    labelled: bool
    read: str
    grid: list[int]
    sample_shape: list[int]
    kind: str
    notes: list[str]
    layer: str | None
    incoming_from: str | None
    no_weights: str | None
    fused: bool


class Looks(TypedDict):
    """Where some neurons look; passport.npz has `look/<parent:index>`, one map a top sample. how: by neuron,
    'activation' or 'gradient'. reason: by neuron, why there is no map."""

    space: str
    how: dict[str, str]
    reason: dict[str, str]


class Measured(TypedDict):
    """loss: mean cross entropy in nats. By class: None where there are no samples."""

    accuracy: float | None
    loss: float
    accuracy_by_class: list[float | None]
    loss_by_class: list[float | None]


class Silenced(TypedDict):
    before: Measured
    after: Measured


class Counterfactual(TypedDict):
    """A neuron silenced. to: 'mean' or 'zero'. fused: its group's neuron silenced in the fused network, or None.
    samples: how many it was measured on; on: of which data."""

    space: str
    neuron: str
    to: str
    on: str
    samples: int
    parent: Silenced
    fused: Silenced | None
    group: int | None
