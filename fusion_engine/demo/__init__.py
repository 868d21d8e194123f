"""The demo parents that come with the program: small digit classifiers, each strong in some classes and weak in
others (non-IID shares of scikit-learn's digits), so that their plain average fails and fusing them pays.

`python -m fusion_engine.demo` trains them again.
"""

from pathlib import Path

from ..core.errors import ParentError
from ..core.registry import nearest
from ..parents import Parent, load_parents

__all__ = ["DEMOS", "demo_files", "load_demo"]

DEMOS: dict[str, str] = {
    "mlp": "four multi-layer perceptrons on shares of the digits",
    "vgg": "two small VGGs on shares of the digits",
}
"""Name of each set of demo parents, and what it holds. Train data 'digits:train', test data 'digits:test'."""


def demo_files(name: str = "mlp") -> list[Path]:
    """The files of a set of demo parents, in order. Raises ParentError for an unknown name."""
    if name not in DEMOS:
        raise ParentError(f"unknown demo {name!r}{nearest(name, DEMOS)}")
    return sorted((Path(__file__).parent / name).glob("parent_*.safetensors"))


def load_demo(name: str = "mlp") -> list[Parent]:
    """A set of demo parents: 'mlp' (four) or 'vgg' (two). Raises ParentError for an unknown name."""
    return load_parents(demo_files(name))
