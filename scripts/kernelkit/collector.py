"""Python's garbage collector, paused while syntax trees of a whole package are made and read."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No garbage collection: syntax trees are millions of lasting objects, and a collection looks
    at all of them to free nothing. Also for a whole script, as a decorator.

    What is there at the end is set aside, for the first collection after a pause would take as long
    as those that it saved (add_model.py on DeepSeek-V3.2: 8.1 s, and 4.6 s like this). The next
    pause begins with collecting what the last one left.
    """
    if not gc.isenabled():  # within another pause
        yield
        return
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
