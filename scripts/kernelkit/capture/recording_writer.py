"""Writes a recorder's file (the format: `kernelkit.capture.recording`)."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from kernelkit.capture.frames import FrameWriter
from kernelkit.capture.recording import SCHEMA_VERSION, digest_of

_COMPRESS_FROM_BYTES = 256
# Made once: json.dumps() makes an encoder for each text that it does not write in its own way.
_compact = json.JSONEncoder(separators=(",", ":")).encode
_sorted = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def encode_blob(digest: bytes, data: bytes) -> bytes:
    """Payload of a B frame."""
    if len(data) >= _COMPRESS_FROM_BYTES:
        packed = zlib.compress(data, 1)
        if len(packed) < len(data):
            return digest + b"\x01" + packed
    return digest + b"\x00" + data


class RecordingWriter:
    """Writes one file. Not thread safe: one thread owns it.

    `max_bytes` bounds the file: beyond it `full` is true and only repeats, events and headers are
    still added. Raises OSError when the disk is full; the file stays readable.
    """

    def __init__(self, path: Path, header: dict[str, Any], *, max_bytes: int) -> None:
        self._frames = FrameWriter(path)
        self._blobs: set[bytes] = set()
        self._ids: dict[str, dict[str, int]] = {"A": {}, "F": {}}
        self._calls: dict[bytes, int] = {}  # content hash of a call -> its number
        self._repeats: dict[int, list[int]] = {}
        self._max_bytes = max_bytes
        self._number = 0
        self.path = path
        self.full = False
        self.write_header(header)

    @property
    def size_bytes(self) -> int:
        """Bytes written and queued."""
        return self._frames.size_bytes

    @property
    def calls(self) -> int:
        """Distinct calls written."""
        return self._number

    def write_header(self, header: dict[str, Any]) -> None:
        """The header; a later one replaces the fields that it names."""
        self._json("H", {"schema_version": SCHEMA_VERSION, **header})

    def api(self, document: dict[str, Any]) -> int:
        """Number of an API document (keys p, m, s, n, d), written when new."""
        return self._interned("A", document)

    def form(self, api: int, arguments: dict[str, Any]) -> int:
        """Number of a form, written when new; `arguments` as the recorder's `encode` gives them."""
        return self._interned("F", {"a": api, "v": arguments})

    def blob(self, data: bytes) -> str:
        """Digest of a blob, written when new."""
        digest = digest_of(data)
        if digest not in self._blobs and not self._is_full():
            self._blobs.add(digest)
            self._frames.add("B", encode_blob(digest, data))
        return digest.hex()

    def call(self, document: dict[str, Any]) -> int | None:
        """Number of a call: a new record, or the equal one's number and one repeat more.

        Keys: f form, b {argument path: digest}, k attributes, p plan, o object, s step, m mode,
        l layer, t time_ns, x 1 when it raised. None when the file is full and the call is new.
        """
        text = _sorted([document.get(part) for part in "fbkpx"])
        key = digest_of(text.encode())
        if (number := self._calls.get(key)) is not None:
            self.repeat(number, 1, document.get("s") or 0)
            return number
        if self._is_full():
            return None
        number = self._calls[key] = self._number
        self._number += 1
        self._json("C", {"n": number, **document})
        return number

    def repeat(self, number: int, count: int, step: int = 0) -> None:
        """Count `count` more calls equal to `number`, the last at `step` (0: not known)."""
        repeats = self._repeats.setdefault(number, [0, 0])
        repeats[0] += count
        repeats[1] = max(repeats[1], step)

    def event(self, kind: str, **detail: Any) -> None:
        """An event record."""
        self._json("E", {"kind": kind, **detail})

    def flush(self) -> None:
        """Write repeats counted since the last flush and hand all to the kernel."""
        if self._repeats:
            rows = [[number, *counted] for number, counted in self._repeats.items()]
            self._repeats.clear()
            self._json("R", {"r": rows})
        self._frames.flush()

    def close(self) -> None:
        """Flush and close."""
        if not self._frames.closed:
            self.flush()
            self._frames.close()

    def _is_full(self) -> bool:
        if not self.full and self.size_bytes >= self._max_bytes:
            self.full = True
            self.event("limit", max_bytes=self._max_bytes)
        return self.full

    def _interned(self, kind: str, document: dict[str, Any]) -> int:
        text = _sorted(document)
        known = self._ids[kind]
        if text not in known:
            known[text] = len(known)
            self._json(kind, {"i": known[text], **document})
        return known[text]

    def _json(self, kind: str, document: dict[str, Any]) -> None:
        self._frames.add(kind, _compact(document).encode())
