"""Exported programs (.pt2): read as data from their archives, checked, and carried out step by step.

Importing this adds them to the table of architectures.
"""

from .archive import read_exported_file
from .network import ExportedConfig, ExportedNetwork, build_exported, read_exported

__all__ = ["ExportedConfig", "ExportedNetwork", "build_exported", "read_exported", "read_exported_file"]
