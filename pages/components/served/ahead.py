"""What the pages import, imported while the browser of the first visitor still loads its own code."""

import gc
from importlib import import_module
from pkgutil import walk_packages
from threading import Thread

from pages import components


def begin() -> None:
    """In a thread of its own: the server answers meanwhile. A page that needs a module sooner waits for it alone."""
    Thread(target=_everything, name="imports", daemon=True).start()


def _everything() -> None:
    import_module("pages.components.jobs.jobs_list")  # every page has it, and Start needs little else
    for module in walk_packages(components.__path__, f"{components.__name__}."):
        import_module(module.name)
    gc.freeze()  # Streamlit collects garbage after every run of a script: 0.1 s, were it to look through all modules
