"""What tests share: a fresh dataset, and the folder with real data where it is at hand.

KERNELKIT_EXTRA_DATA names a folder with `data` (configs, signatures, captures) and `research`
(expectations). Tests that need it are skipped visibly without it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset

# A shell that starts the tests in its background (`bash scripts/test.sh &` in a script) has them
# ignore Ctrl-C, and what they start as well: then no test of an interrupt could pass.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def extra_data() -> Path | None:
    """The folder with real data, or None."""
    value = os.environ.get("KERNELKIT_EXTRA_DATA")
    return Path(value) if value and (Path(value) / "data").is_dir() else None


@pytest.fixture
def extra() -> Path:
    """The folder with real data; skips the test without it."""
    found = extra_data()
    if found is None:
        pytest.skip("KERNELKIT_EXTRA_DATA does not name a folder with data/ and research/")
    return found


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """An empty dataset."""
    return Dataset.create(tmp_path / "dataset")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip GPU tests, visibly, where there is no CUDA device."""
    if not any(item.get_closest_marker("gpu") for item in items):
        return
    reason = _why_no_gpu()
    for item in items:
        if reason and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_no_gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    return None if torch.cuda.is_available() else "no CUDA device"
