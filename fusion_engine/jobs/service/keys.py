"""Encrypted connections to a scheduler, which runs whatever a client sends it: only who has the keys is a client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_engine import store
from fusion_engine.core.errors import JobError
from fusion_engine.store.files import writing

if TYPE_CHECKING:
    from distributed.security import Security

def make_keys() -> None:
    """Write a new key and its certificate, which signs itself, into the store: readable by its owner alone."""
    from distributed.security import Security

    temporary = Security.temporary()
    folder = store.folder("keys")
    with writing():
        folder.chmod(0o700)
        for path, content in zip(_files(folder), (temporary.tls_ca_file, temporary.tls_client_key), strict=True):
            path.unlink(missing_ok=True)
            with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(str(content))


def local_security() -> Security:
    """What the local service's scheduler, workers and clients show each other: the keys of `make_keys`."""
    from distributed.security import Security

    certificate, key = map(str, _files(store.home() / "keys"))
    roles = ("client", "scheduler", "worker")
    given = {f"tls_{role}_{part}": path for role in roles for part, path in (("cert", certificate), ("key", key))}
    return Security(require_encryption=True, tls_ca_file=certificate, **given)


def cluster_security(address: str) -> Security:
    """The certificates that Dask's settings name, for a cluster of the user's own. JobError where a tls:// address has
    none; tcp:// is taken as it is."""
    from distributed.security import Security

    security = Security()
    if address.startswith("tls://") and not (security.tls_ca_file and security.tls_client_cert):
        names = [f"DASK_DISTRIBUTED__COMM__TLS__{part}" for part in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")]
        raise JobError(f"FUSION_SCHEDULER is encrypted: name your certificates' files in {', '.join(names)}")
    return security


def _files(folder: Path) -> tuple[Path, Path]:
    return folder / "certificate.pem", folder / "key.pem"
