"""Files of weights in all their formats, read as data: nothing in them is ever run."""

from .content import Content, NamedModule, Record, WeightSet, in_memory, outline
from .folder import hub_config
from .reading import read_content, title
from .safetensorsfile import read_safetensors, write_state
from .weight_sets import is_nested, joined

__all__ = [
    "Content",
    "NamedModule",
    "Record",
    "WeightSet",
    "hub_config",
    "in_memory",
    "is_nested",
    "joined",
    "outline",
    "read_content",
    "read_safetensors",
    "title",
    "write_state",
]
