"""What one of many fusions gives, or why it gives nothing: the others go on."""

from collections.abc import Callable
from typing import Any

from ..core.errors import Cancelled, FusionError


def outcome(compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` gives, with state 'done'; state 'failed' and the reason in one line where it raises. Only
    `Cancelled` comes through."""
    try:
        return {"state": "done", **compute()}
    except Cancelled:
        raise
    except FusionError as error:
        reason = str(error)
    except MemoryError:
        reason = "not enough memory; use fewer calibration samples"
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return {"state": "failed", "reason": reason}
