"""The device that work runs on, by the name a user gives."""

import torch

from ..core.errors import DataError


def checked_device(name: str) -> torch.device:
    """Device 'cpu', 'cuda' (or 'cuda:1') or 'mps'. Raises DataError if this machine has none of that name."""
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise ValueError
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ValueError):  # torch built without CUDA asserts
        raise DataError(f"this machine has no device {name!r}; use device 'cpu'") from None
    return device
