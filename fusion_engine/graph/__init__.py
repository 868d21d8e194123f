"""From a model to its coupled channel spaces, linear layers and levels, and to programs that run parts of it."""

from __future__ import annotations

from .program import Program
from .rules import label_rule
from .sites import read_site
from .trace import Trace, trace

__all__ = ["Program", "Trace", "label_rule", "read_site", "trace"]
