"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

# Small problems on shared machines: threads of several libraries would only wait for each other. Set before anything
# imports a library that reads it.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real parents and data; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("FUSION_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared test data (../shared/data, or FUSION_TEST_DATA) is not here")
    return folder
