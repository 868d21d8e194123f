"""YAML and JSON read with nothing guessed: a key given twice is refused, and 1:4 is text, not a number in base 60."""

import re
from typing import Any

import yaml

from .errors import RecipeError


def load_strict(text: str, what: str) -> Any:
    """The value in YAML or JSON text (safe loader). RecipeError in one line, which begins with `what`, for text that is
    neither, and for keys that are given twice or are not text."""
    try:
        return yaml.load(text, Loader=_UniqueLoader)
    except _Refused as error:
        raise RecipeError(f"{what}: {error}") from None
    except RecursionError:
        raise RecipeError(f"{what}: it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{what} is not valid YAML: {str(error).splitlines()[0]}") from None


class _Refused(Exception):  # noqa: N818 - it becomes a RecipeError
    pass


class _UniqueLoader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice: a silent override would fuse with another recipe than shown."""


def _unique_mapping(loader: _UniqueLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=deep)
        if not isinstance(key, str):
            raise _Refused(f"the key {key!r} is not text; put it in quotes")
        if key in seen:
            raise _Refused(f"the key {key!r} is given twice")
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


_UniqueLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
# YAML 1.1 reads 1:30 as 90; to us 1:30 is a neuron. As in YAML 1.2, there is no base 60.
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def _without_base_60(found: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(rf"(?!.*:){found.pattern}", re.VERBOSE)


_UniqueLoader.yaml_implicit_resolvers = {
    first: [(tag, _without_base_60(found) if tag in _NUMBERS else found) for tag, found in entries]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
