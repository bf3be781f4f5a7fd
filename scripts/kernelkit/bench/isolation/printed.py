"""What a solution's process prints: kept in part, however much it is."""

from __future__ import annotations

import threading

LOG_BYTES = 4000  # kept of each end


class Capture:
    """What a solution prints: the first and the last of it, however much there is."""

    def __init__(self, descriptor: int) -> None:
        self.head, self.tail, self.size = b"", b"", 0
        self.descriptor = descriptor
        self.thread = threading.Thread(target=self._drain, daemon=True)
        self.thread.start()

    def _drain(self) -> None:
        with open(self.descriptor, "rb", buffering=0) as pipe:
            while part := pipe.read(1 << 16):
                self.size += len(part)
                room = LOG_BYTES - len(self.head)
                self.head += part[:room] if room > 0 else b""
                self.tail = (self.tail + part)[-LOG_BYTES:]

    def close(self) -> None:
        """Wait a moment for the rest."""
        self.thread.join(1.0)

    def text(self) -> str:
        """What is kept."""
        if self.size <= 2 * LOG_BYTES:
            rest = self.size - len(self.head)
            whole = self.head + (self.tail[-rest:] if rest > 0 else b"")
            return whole.decode("utf-8", "replace").strip()
        left_out = self.size - 2 * LOG_BYTES
        middle = f"\n[... {left_out} bytes left out ...]\n".encode()
        return (self.head + middle + self.tail).decode("utf-8", "replace").strip()
