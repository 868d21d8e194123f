"""Where the store lives, and the ids that name things in it. Ids are checked before a path is built from them."""

import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from fusion_engine.core.errors import StoreError

from .files import writing

ID_LENGTH = 28
"""Characters of an id."""

_ID = re.compile(r"\d{8}-\d{6}-\d{3}-[0-9a-f]{8}")
_DIGEST = re.compile(r"[0-9a-f]{32}")


def home() -> Path:
    """The store's folder: FUSION_HOME, or ~/.neuron-fusion-lab. Not created here."""
    return Path(os.environ.get("FUSION_HOME") or Path.home() / ".neuron-fusion-lab").expanduser()


def folder(name: str) -> Path:
    """The folder `name` ('runs', 'parents', ...) of the store, created if missing."""
    path = home() / name
    with writing():
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def new_id() -> str:
    """A fresh id: UTC time to the millisecond, then 32 random bits. Ids sort by the time they were made."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}-{secrets.token_hex(4)}"


def check_id(value: object, what: str = "run") -> str:
    """`value` if it has the form of an id; StoreError otherwise."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise StoreError(f"this is not the id of a {what}; open the {what} from its list")


def check_digest(value: object, what: str) -> str:
    """`value` if it has the form of a content digest (32 hex digits); StoreError otherwise."""
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value
    raise StoreError(f"this is not the id of a {what}; import the {what} again")
