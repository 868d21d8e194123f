"""Names of tensors without what wrappers of modules put into them."""

from collections.abc import Iterable
from typing import Final

# torch.compile, activation checkpointing, FSDP, and (Distributed)DataParallel or AveragedModel.
_WRAPPERS: Final = frozenset({"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "module"})


def plain_names(names: Iterable[str]) -> dict[str, str] | None:
    """Name -> name without wrappers' parts; None if two names become one."""
    found = {name: ".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in names}
    return found if len(set(found.values())) == len(found) else None
