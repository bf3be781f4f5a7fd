"""A document in an unnamed temporary file: as large as it may be, a piece of it is in memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO

PIECE_BYTES = 1 << 20


class Spool:
    """Text as UTF-8 on disk until nobody holds it; read by any number of threads at once.

    size: in bytes. tag: the first half of its SHA-256, in hexadecimal digits. Raises OSError where
    the disk is full.
    """

    def __init__(self, parts: Iterable[str]) -> None:
        self._file = tempfile.TemporaryFile(buffering=PIECE_BYTES)
        weakref.finalize(self, _close, self._file)
        self.size = 0
        digest = hashlib.sha256()
        for part in parts:
            data = part.encode("utf-8")
            digest.update(data)
            self.size += self._file.write(data)
        self._file.flush()
        self.tag = digest.hexdigest()[:32]

    def pieces(self) -> Iterator[bytes]:
        """Its bytes from the start, whatever other readers do."""
        offset = 0
        while data := os.pread(self._file.fileno(), PIECE_BYTES, offset):
            yield data
            offset += len(data)


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # a full disk again
        file.close()
