"""A project in one file, to be taken to another store: parents, data, runs with their names and notes, recipes, edits.

    from fusion_engine.jobs.bundle import export_bundle, import_bundle
    export_bundle("project.zip", parents=parent_set)
    import_bundle("project.zip")["runs"]

A bundle is read as hostile input: all of it is checked before anything of the store changes.
"""

from typing import Any

_EXPORTS = {"export_bundle": "writing", "import_bundle": "reading", "Imported": "layout"}
__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
