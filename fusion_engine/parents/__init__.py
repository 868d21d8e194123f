"""Parents: the trained networks to be fused. Reading runs no code of the files; writing is atomic."""

from .base import load_base
from .check import MAX_PARENTS, assumptions, check_inputs, check_parents, remarks, same_widths
from .files import read_safetensors, title, write_state
from .header import header
from .load import load_parent, load_parents, save_parent
from .parent import (
    Metadata,
    Parent,
    canonical_state,
    config_for,
    file_tensors,
    fill,
    in_type,
    make_parent,
    module_for,
    state_digest,
)
from .settled import settled

__all__ = [
    "MAX_PARENTS",
    "Metadata",
    "Parent",
    "assumptions",
    "canonical_state",
    "check_inputs",
    "check_parents",
    "config_for",
    "file_tensors",
    "fill",
    "header",
    "in_type",
    "load_base",
    "load_parent",
    "load_parents",
    "make_parent",
    "module_for",
    "read_safetensors",
    "remarks",
    "same_widths",
    "save_parent",
    "settled",
    "state_digest",
    "title",
    "write_state",
]
