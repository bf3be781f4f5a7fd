"""Modules beside the tests, and the corpus of attacks that lies elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def exploit_samples(extra: Path) -> Path:
    """A folder with other people's attacks and a manifest; skips the test without it."""
    folder = extra / "data" / "exploit_samples"
    if not (folder / "manifest.json").is_file():
        pytest.skip("KERNELKIT_EXTRA_DATA has no data/exploit_samples/manifest.json")
    return folder
