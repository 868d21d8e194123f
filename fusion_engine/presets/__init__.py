"""Presets: recipes by paper, kept as data in presets.yaml. Loaded on first use; imports no torch."""

from .loader import Preset, get_preset, read_presets, recipes
from .needs import needs

__all__ = ["Preset", "get_preset", "needs", "read_presets", "recipes"]
