"""What a grouping is told that wants fused spaces of other widths than the parents'."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class WidthPlan:
    """The widths there are, before anything is computed.

    sizes       by space that may change its width: neurons of every parent
    fixed       the other spaces
    level       by space: number of the level that makes its neurons
    levels      number of levels
    parameters  how many weights a fused network with these widths has, by space; others keep the first parent's
    """

    sizes: Mapping[str, tuple[int, ...]]
    fixed: Collection[str]
    level: Mapping[str, int]
    levels: int
    parameters: Callable[[Mapping[str, int]], int]
