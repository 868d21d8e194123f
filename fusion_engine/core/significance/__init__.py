"""Whether a difference is more than noise. Plain arithmetic: pages call it too."""

from .intervals import Interval, wilson
from .paired import Comparison, compared, compared_apart, fisher, mcnemar

__all__ = ["Comparison", "Interval", "compared", "compared_apart", "fisher", "mcnemar", "wilson"]
