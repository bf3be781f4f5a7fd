"""A pause of the collector ends as it began, and keeps no garbage of the one before."""

from __future__ import annotations

import gc
import weakref

import pytest

from kernelkit import collector


class Node:
    """Something that refers to itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def _thawed() -> None:
    gc.unfreeze()


def test_nothing_is_collected_in_a_pause_and_all_after_the_next() -> None:
    with collector.paused():
        assert not gc.isenabled()
        left = weakref.ref(Node())
        with collector.paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
        assert left() is not None
    assert gc.isenabled()
    with collector.paused():
        assert left() is None
    gc.unfreeze()


def test_a_failure_ends_the_pause() -> None:
    with pytest.raises(ZeroDivisionError), collector.paused():
        raise ZeroDivisionError
    assert gc.isenabled()
    gc.unfreeze()
