"""What groupings, solvers and refining steps share: a fusion's inputs, its log, and ways to read and write layers."""

from .aligned import aligned_layer, parent_part
from .first_parent import align_to_first, keeps_first_width
from .folding import fold_norms, per_channel, read_layer, write_layer
from .forward_work import EFFORTS, Effort, EffortParameter, forward_work
from .inputs import Inputs, Resume
from .output_weights import BY_IMPORTANCE, HeadParameter, HeadWeights, OutputWeights, output_layer, output_weights
from .parent_features import ParentFeatures, batch_size
from .prefix import FusedPrefix
from .run_log import RunLog, Stopwatch

__all__ = [
    "BY_IMPORTANCE", "EFFORTS", "Effort", "EffortParameter", "FusedPrefix", "HeadParameter", "HeadWeights", "Inputs",
    "OutputWeights", "ParentFeatures", "Resume", "RunLog", "Stopwatch", "align_to_first", "aligned_layer",
    "batch_size", "fold_norms", "forward_work", "keeps_first_width", "output_layer", "output_weights", "parent_part",
    "per_channel", "read_layer", "write_layer",
]  # fmt: skip
