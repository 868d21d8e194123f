"""Texts that are too long for an address, kept by content: the same text, the same digest."""

import hashlib
from typing import Literal

from fusion_engine.core.errors import StoreError

from .files import write_bytes
from .home import check_digest, folder

Kept = Literal["selection", "edits", "recipe"]
_LONGEST = 2**20  # characters
_AGAIN = {"selection": "select the neurons again", "edits": "make them again", "recipe": "change one again"}


def keep_text(kind: Kept, text: str) -> str:
    """Keep a text; its digest, 32 hex digits. StoreError for one of more than a million characters."""
    if len(text) > _LONGEST:
        raise StoreError(f"this is too long to be kept as {kind}: {len(text):,} characters, of {_LONGEST:,} at most")
    content = text.encode()
    digest = hashlib.sha256(content).hexdigest()[:32]
    path = folder(kind) / digest
    if not path.is_file():
        write_bytes(path, content)
    return digest


def read_text(kind: Kept, digest: str) -> str:
    """What `keep_text` kept; StoreError if it is not there."""
    try:
        return (folder(kind) / check_digest(digest, kind)).read_text()
    except OSError:
        raise StoreError(f"what this address names as {kind} is not in this store; {_AGAIN[kind]}") from None
