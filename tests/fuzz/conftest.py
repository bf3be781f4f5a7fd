"""Fuzzing needs hypothesis; without it everything here is skipped, visibly."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("hypothesis", reason="fuzzing needs hypothesis (the extra dev)")
sys.path.insert(0, str(Path(__file__).parent))
