"""Append-only files of checked frames: what one process writes, and any process may read.

A file is MAGIC and then frames. A frame is `sync | kind | length | crc32 | payload`, little endian.
A process killed in the middle of a write leaves a torn last frame; a full disk leaves one too. The
reader drops it and says so. A damaged frame in the middle is skipped when the next one is found.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kernelkit.errors import FormatError

MAGIC = b"KKREC\x00\x01\n"  # the 7th byte is the version of the framing
SYNC = b"\xa5K"
_HEAD = struct.Struct("<2scxII")  # sync, kind, one byte of padding, length, crc32
MAX_PAYLOAD_BYTES = 1 << 30


@dataclass(frozen=True)
class Frame:
    """One frame of a file: its kind (one letter), its payload, and where the payload begins."""

    kind: str
    payload: bytes
    offset: int


class FrameWriter:
    """Appends whole frames to a new file; buffered until `flush`.

    A write that fails (disk full) raises OSError once, after the file was cut back to its last
    whole frame; `closed` is then true and nothing more is written.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._descriptor = os.open(path, flags, 0o644)
        self._pending: list[bytes] = [MAGIC]
        self._written = 0
        self.size_bytes = len(MAGIC)
        self.closed = False

    def add(self, kind: str, payload: bytes) -> None:
        """Queue a frame; `size_bytes` counts it at once."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise FormatError("a frame is too long", received=len(payload))
        head = _HEAD.pack(SYNC, kind.encode("ascii"), len(payload), zlib.crc32(payload))
        self._pending += [head, payload]
        self.size_bytes += len(head) + len(payload)

    def flush(self) -> None:
        """Hand what is queued to the kernel; it then survives the death of this process."""
        if self.closed or not self._pending:
            return
        parts, self._pending = self._pending, []
        data = memoryview(b"".join(parts))
        done = 0
        try:
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError:
            self._cut_back(parts, done)
            raise
        self._written += done

    def close(self) -> None:
        """Flush and close; closing twice is harmless."""
        if self.closed:
            return
        self.flush()
        self.closed = True
        os.close(self._descriptor)

    def _cut_back(self, parts: list[bytes], done: int) -> None:
        """Leave the whole frames among the `done` bytes of `parts` (MAGIC, or head and payload)."""
        self.closed = True
        whole = position = 0
        for part in parts:
            position += len(part)
            if position <= done and not _is_head(part):
                whole = position
        self._written += whole
        self.size_bytes = self._written
        try:
            os.ftruncate(self._descriptor, self._written)
        finally:
            os.close(self._descriptor)


def _is_head(part: bytes) -> bool:
    return len(part) == _HEAD.size and part.startswith(SYNC)


@dataclass
class FrameReader:
    """The frames of a file in order; `problems` says what was dropped. Memory: one frame."""

    path: Path
    problems: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Frame]:
        self.problems.clear()
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise FormatError("not a recording", received=str(self.path))
            size = self.path.stat().st_size
            while frame := self._next(file, size):
                if frame.kind:
                    yield frame

    def _next(self, file: BinaryIO, size: int) -> Frame | None:
        """The next frame; kind "" for a damaged one; None at the end or at a torn tail."""
        start = file.tell()
        head = file.read(_HEAD.size)
        if not head:
            return None
        if len(head) < _HEAD.size:
            return self._torn(start, size)
        sync, kind, length, checksum = _HEAD.unpack(head)
        if sync != SYNC or length > MAX_PAYLOAD_BYTES:
            self.problems.append(f"no frame at byte {start}: {size - start} bytes are left out")
            return None
        if file.tell() + length > size:
            return self._torn(start, size)
        payload = file.read(length)
        if zlib.crc32(payload) != checksum:
            self.problems.append(f"damaged frame at byte {start}, skipped")
            return Frame("", b"", start)
        return Frame(kind.decode("ascii", "replace"), payload, start + _HEAD.size)

    def _torn(self, start: int, size: int) -> None:
        self.problems.append(f"torn tail at byte {start}: {size - start} bytes dropped")


def read_payload(path: Path, offset: int, length: int) -> bytes:
    """The payload of a frame found earlier."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
