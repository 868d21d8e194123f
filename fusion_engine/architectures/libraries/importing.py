"""Optional packages: found out at run time, imported without anything that reaches for the network."""

import importlib
import importlib.metadata
import importlib.util
import os
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import torch

from ...core.errors import UnsupportedModelError

_INSTALL: Final = "pip install .[zoo]"
_OPERATOR: Final = re.compile(r"[\"']torchvision::(\w+)[\"']")


def installed(package: str) -> bool:
    """Whether a package is there, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def library(package: str) -> ModuleType:
    """The package `package`, imported offline. UnsupportedModelError says what to install where it is missing or does
    not import."""
    if not installed(package):
        raise UnsupportedModelError(f"this needs {package}, which is not installed: {_INSTALL}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read once, when a hub's client is imported
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    if installed("torchvision"):
        _declare_operators()
    try:
        return importlib.import_module(package)
    except Exception as problem:
        line = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise UnsupportedModelError(
            f"{package} is installed and does not import ({line}); install the builds for torch "
            f"{torch.__version__.split('+')[0]} and the same device: {_INSTALL}"
        ) from problem


def version(package: str) -> str:
    """The package's version; '' where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def _declare_operators() -> None:
    """Names of torchvision's compiled operators, where its extension does not load beside this build of torch.

    torchvision registers what it knows about its operators when it is imported, and fails for those that no extension
    has brought: a build for CUDA beside a CPU torch. They belong to detection; declared by name, classifiers work.
    """
    found = importlib.util.find_spec("torchvision")
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found is not None else []
    extensions = [file for folder in folders for kind in ("so", "pyd", "dylib") for file in folder.glob(f"_C*.{kind}")]
    for extension in extensions:
        try:
            torch.ops.load_library(extension)
        except (OSError, ImportError, RuntimeError):
            continue
        return
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    _KEPT.append(fragment)
    names = {name for folder in folders for file in folder.glob("*.py") for name in _OPERATOR.findall(file.read_text())}
    for name in sorted(names):
        fragment.define(f"{name}(Tensor x) -> Tensor")


_KEPT: Final[list[torch.library.Library]] = []  # what it has declared ends with a library object
