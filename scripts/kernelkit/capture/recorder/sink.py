"""The writer's thread of a recorded process: hashes, leaves out what is known, writes, flushes."""

from __future__ import annotations

import atexit
import os
import platform
import socket
import sys
import threading
import time
from collections import OrderedDict, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.capture.recorder import values
from kernelkit.capture.recorder.loading import complain
from kernelkit.capture.recorder.settings import Settings
from kernelkit.capture.recording import SUFFIX
from kernelkit.capture.recording_writer import RecordingWriter

if TYPE_CHECKING:
    from kernelkit.capture.recorder.observer import Entry, ObservedApi, Observer

PERIOD_S = 0.05
MAX_SERIALS = 100_000  # entries whose number in the file is remembered, for their repeats


class Sink:
    """Takes entries from any thread; its own thread writes them in order."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.observer: Observer | None = None
        self._reset()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """As new: also in a forked child, whose parent keeps the file and the thread."""
        self._lock = threading.Lock()
        self._queue: deque[Entry] = deque()
        self._writer: RecordingWriter | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._numbers: OrderedDict[int, int | None] = OrderedDict()
        self._forms: dict[Any, int] = {}
        self._encoded: dict[Any, dict[str, Any]] = {}
        self._flushed = time.monotonic()
        self._has_rank = False
        self._put_bytes = 0  # counted by the callers' thread
        self._done_bytes = 0  # counted by the sink's

    @property
    def pending_bytes(self) -> int:
        """Host memory of the copies that are queued."""
        return self._put_bytes - self._done_bytes

    def put(self, entry: Entry) -> None:
        """Queue an entry; starts the thread at the first one."""
        self._put_bytes += entry.size_bytes
        self._queue.append(entry)
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="kernelkit-sink", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write all that is queued and end the thread; harmless twice."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)
        self._guarded(self._finish)

    def _loop(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._guarded(self._drain)

    def _guarded(self, body: Any) -> None:
        """Run `body`; a full disk or a fault ends the recording, never the process."""
        with self._lock:
            try:
                body()
            except Exception as error:
                if self.observer is not None and not self.observer.off:
                    self.observer.off = True
                    complain(f"recording ends: {error!r}; the file stays readable")
                self._queue.clear()

    def _drain(self, *, waits: bool = False) -> None:
        """Write what is queued, as far as its copies are whole: to wait for the GPU here would
        spin beside the caller's thread."""
        while self._queue and (waits or _is_whole(self._queue[0])):
            entry = self._queue.popleft()
            self._done_bytes += entry.size_bytes
            self._write(entry)
        if self._writer is not None and time.monotonic() - self._flushed > self.settings.flush_s:
            self._note_rank(self._writer)
            self._note_counts(self._writer)
            self._writer.flush()
            self._flushed = time.monotonic()

    def _finish(self) -> None:
        self._drain(waits=True)
        if self._writer is not None:
            self._note_rank(self._writer)
            self._note_counts(self._writer)
            self._writer.event("closed", calls=self._writer.calls)
            self._writer.close()
            self._writer = None

    def _write(self, entry: Entry) -> None:
        if entry.ready is not None:
            entry.ready.synchronize()
        if entry.arguments is not None and entry.key not in self._forms:
            self._encoded[entry.key] = entry.arguments
        writer = self._writer or self._open()
        document = {
            "f": self._form(writer, entry),
            "b": {name: writer.blob(_bytes(t)) for name, t in entry.tensors.items()},
            "k": entry.attributes, "o": entry.subject, "s": entry.step, "m": entry.mode,
            "l": entry.layer, "t": entry.time_ns,
        }  # fmt: skip
        if not entry.completed:
            document["x"] = 1
        if entry.plan is not None:
            document["p"] = self._number_of(entry.plan)
        self._numbers[entry.serial] = writer.call(document)
        if len(self._numbers) > MAX_SERIALS:
            self._numbers.popitem(last=False)

    def _form(self, writer: RecordingWriter, entry: Entry) -> int:
        number = self._forms.get(entry.key)
        if number is None:
            api = writer.api(_api_document(entry.api))
            number = self._forms[entry.key] = writer.form(api, self._encoded.pop(entry.key))
        return number

    def _number_of(self, serial: int) -> int | None:
        """The number in the file; what is still asked for stays remembered."""
        if serial in self._numbers:
            self._numbers.move_to_end(serial)
        return self._numbers.get(serial)

    def _note_counts(self, writer: RecordingWriter) -> None:
        if self.observer is None:
            return
        repeats, self.observer.repeats = self.observer.repeats, type(self.observer.repeats)()
        for serial, count in list(repeats.items()):
            if (number := self._number_of(serial)) is not None:
                writer.repeat(number, count)
        skipped, self.observer.skipped = self.observer.skipped, type(self.observer.skipped)()
        for reason, count in list(skipped.items()):
            kind = reason if reason in ("graph_capture", "thinned") else "dropped"
            writer.event(kind, reason=reason, count=count)

    def _open(self) -> RecordingWriter:
        if self._writer is None:
            host, pid = socket.gethostname(), os.getpid()
            path = Path(self.settings.output) / f"{host}-{pid}-{time.time_ns():x}{SUFFIX}"
            limit = self.settings.max_file_bytes
            self._writer = RecordingWriter(path, _header(self.settings), max_bytes=limit)
            self._note_rank(self._writer)
        return self._writer

    def _note_rank(self, writer: RecordingWriter) -> None:
        if not self._has_rank and (rank := _rank()) is not None:
            writer.write_header(rank)
            self._has_rank = True


def _is_whole(entry: Entry) -> bool:
    return entry.ready is None or entry.ready.query()


def _api_document(api: ObservedApi) -> dict[str, Any]:
    return {
        "p": api.path, "m": api.method, "s": api.signature, "n": list(api.parameters),
        "d": {name: values.encode(value, name) for name, value in api.defaults.items()},
    }  # fmt: skip


def _bytes(tensor: Any) -> bytes:
    return tensor.numpy().tobytes()


def _header(settings: Settings) -> dict[str, Any]:
    import torch

    document: dict[str, Any] = {
        **settings.about,
        "wanted": settings.apis,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "argv": sys.argv[:50],
        "started_ns": time.time_ns(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "flashinfer": _version("flashinfer"),
            "sglang": _version("sglang"),
        },
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        document["device"] = torch.cuda.get_device_name()
        document["compute_capability"] = list(torch.cuda.get_device_capability())
    return document


def _version(name: str) -> str | None:
    module = sys.modules.get(name)
    found = getattr(module, "__version__", None)
    return str(found) if found is not None else None


def _rank() -> dict[str, int] | None:
    """Rank and world size, once torch.distributed is initialised."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    return {"rank": torch.distributed.get_rank(), "world_size": torch.distributed.get_world_size()}
