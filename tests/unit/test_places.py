"""Where a process of the pack's imports from."""

from __future__ import annotations

import os

import pytest

from kernelkit import places


def test_imports_come_from_the_pack_then_from_where_the_caller_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["a", "b"]))
    assert places.import_path().split(os.pathsep) == [str(places.LIBRARY), "a", "b"]


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_path_adds_no_working_directory(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """An empty entry would stand for the folder that the process runs in."""
    if value is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", value)
    assert places.import_path() == str(places.LIBRARY)
