"""Parents: the trained networks to be fused. Reading runs no code of the files; writing is atomic."""

from .base import load_base
from .check import MAX_PARENTS, assumptions, check_parents, same_widths
from .header import header
from .load import load_parent, load_parents, save_parent
from .parent import Metadata, Parent, config_for, load_tensors, make_parent, module_copy, module_for, state_digest
from .safetensorsfile import read_safetensors, write_state
from .settled import settled

__all__ = [
    "MAX_PARENTS",
    "Metadata",
    "Parent",
    "assumptions",
    "check_parents",
    "config_for",
    "header",
    "load_base",
    "load_parent",
    "load_parents",
    "load_tensors",
    "make_parent",
    "module_copy",
    "module_for",
    "read_safetensors",
    "same_widths",
    "save_parent",
    "settled",
    "state_digest",
    "write_state",
]
