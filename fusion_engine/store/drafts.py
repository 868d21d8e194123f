"""Recipes that are being put together, kept by their content, so that an address can name one."""

import json
from collections.abc import Mapping
from typing import Any

from .files import read_json, write_bytes
from .home import check_digest, folder
from .sets import content_digest


def save_draft(recipe: Mapping[str, Any]) -> str:
    """Keep a recipe's mapping and return its id: the same recipe has the same one."""
    text = json.dumps(recipe, sort_keys=True, allow_nan=False)
    draft = content_digest(["draft", text])
    path = folder("drafts") / f"{draft}.json"
    if not path.exists():
        write_bytes(path, text.encode())
    return draft


def read_draft(draft: str) -> dict[str, Any]:
    """The mapping of a recipe; StoreError if it is not there."""
    return dict(read_json(folder("drafts") / f"{check_digest(draft, 'recipe')}.json", "this recipe"))
