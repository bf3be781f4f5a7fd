"""The recorder's files: calls of FlashInfer's APIs, one file per process.

Records (frames of JSON, short keys) and blobs (frames of bytes) in the order of the calls:

    H  header: versions, model, device, rank, what was wanted; written again when the rank is known
    A  an API: dotted path, method, signature, parameter names, defaults
    F  a form: an API, and its arguments with shapes, dtypes, strides and scalars
    B  a blob: 16 bytes of BLAKE2b over the raw bytes, one flag byte, the bytes (zlib when flag 1)
    C  a call: a form, the blobs of its index tensors, its plan, attributes, step and layer
    R  repeats: [call, count, last step] of calls equal to one written before
    E  an event: calls dropped, a limit reached, a CUDA graph capture skipped, the end

Two calls are equal when form, attributes, contents of the index tensors and plan are. A blob, form
and API is written before the first call that refers to it.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.capture.frames import FrameReader, read_payload
from kernelkit.capture.recorded import TensorValue, decode_value, text, whole
from kernelkit.errors import FormatError

if TYPE_CHECKING:
    import numpy

SUFFIX = ".kkrec"
SCHEMA_VERSION = 1
DIGEST_BYTES = 16
# What a record of another form raises when it is taken apart.
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True)
class Api:
    """What was wrapped: `path` is the fi_api: path, `method` "" for a function."""

    path: str
    method: str
    signature: str
    parameters: tuple[str, ...]
    defaults: dict[str, Any]

    @property
    def name(self) -> str:
        """Last component of the path, as definitions' tags are matched."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Call:
    """One call, with every argument under its parameter's name (`self` left out).

    `arguments` holds those given; `api.defaults` the rest. Values: TensorValue, EnumValue,
    DtypeValue, OpaqueValue, None, bool, int, float, str, list, tuple, dict.
    `attributes`: what the wrapper object held at the call (causal, sm_scale, window_left,
    logits_soft_cap, kv_layout, ...), names without the leading underscore.
    `plan`: number of the call that planned this wrapper, itself in this file; None without one.
    `count`: how many equal calls were made, this one included.
    """

    number: int
    api: Api
    arguments: dict[str, Any]
    attributes: dict[str, Any]
    object: int | None
    plan: int | None
    step: int | None
    last_step: int | None
    mode: str | None  # SGLang's forward mode of the step: EXTEND, DECODE, ...
    layer: int | None
    time_ns: int
    count: int = 1
    completed: bool = True

    @property
    def bound(self) -> dict[str, Any]:
        """Arguments with the signature's defaults filled in."""
        return {**self.api.defaults, **self.arguments}


@dataclass(frozen=True)
class Event:
    """Something that a reader must know: `kind` dropped, thinned, limit, graph_capture, closed,
    error."""

    kind: str
    detail: dict[str, Any]


def digest_of(data: bytes | memoryview) -> bytes:
    """Content hash of a blob."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def decode_blob(payload: bytes, size_bytes: int) -> bytes:
    """The raw bytes of a B frame's payload, `size_bytes` of them: no more is unpacked.

    Raises FormatError where they have another length, or do not fit the digest.
    """
    digest, flag, data = (
        payload[:DIGEST_BYTES],
        payload[DIGEST_BYTES : DIGEST_BYTES + 1],
        payload[DIGEST_BYTES + 1 :],
    )
    try:
        raw = data
        if flag == b"\x01":
            raw = zlib.decompressobj().decompress(data, size_bytes + 1)
    except zlib.error as error:
        raise FormatError(f"a blob cannot be unpacked: {error}", received=digest.hex()) from None
    if len(raw) != size_bytes or digest_of(raw) != digest:
        raise FormatError("a blob does not fit its digest or its shape", received=digest.hex())
    return raw


@dataclass
class Recording:
    """One file, read twice: once to check and index it, then streamed. Memory: the index."""

    path: Path
    header: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _blobs: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    _repeats: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)
    _apis: dict[int, Api] = field(default_factory=dict, repr=False)
    _forms: dict[int, tuple[int, dict[str, Any]]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path) -> Recording:
        """Check and index a file. Raises FormatError when it is no recording of this version."""
        made = cls(path)
        reader = FrameReader(path)
        for frame in reader:
            made._index(frame.kind, frame.payload, frame.offset)
        made.problems += reader.problems
        if made.header.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise FormatError(
                "a recording of another version",
                received=made.header["schema_version"],
                allowed=str(SCHEMA_VERSION),
            )
        return made

    def calls(self) -> Iterator[Call]:
        """The distinct calls in order. A call whose form or blob was damaged is left out."""
        for frame in FrameReader(self.path):
            if frame.kind != "C":
                continue
            try:
                document = json.loads(frame.payload)
                call = self._call(document) if self._has_parts(document) else None
            except _MALFORMED as error:
                self._note(frame.offset, error)
                continue
            if call is not None:
                yield call

    def array(self, value: TensorValue) -> numpy.ndarray:
        """The kept values of a tensor, in its shape. Raises FormatError when none were kept."""
        import numpy

        if value.digest is None or value.digest not in self._blobs:
            raise FormatError("the values of this tensor are not kept", received=value)
        try:
            dtype = numpy.dtype(value.dtype)
        except TypeError:
            raise FormatError("numpy has no such type", received=value.dtype) from None
        payload = read_payload(self.path, *self._blobs[value.digest])
        raw = decode_blob(payload, math.prod(value.shape) * dtype.itemsize)
        try:
            return numpy.frombuffer(raw, dtype=dtype).reshape(value.shape)
        except ValueError as error:  # a type of Python objects, or of no bytes
            raise FormatError(f"the values cannot be read: {error}", received=value) from None

    def _index(self, kind: str, payload: bytes, offset: int) -> None:
        if kind == "B":
            self._blobs[payload[:DIGEST_BYTES].hex()] = (offset, len(payload))
        elif kind in "HAFRE":
            try:
                self._record(kind, json.loads(payload))
            except _MALFORMED as error:
                self._note(offset, error)

    def _note(self, offset: int, error: Exception) -> None:
        """Say once that the record at this place is left out."""
        note = f"the record at byte {offset} is left out: {type(error).__name__}: {error}"
        if note not in self.problems:
            self.problems.append(note)

    def _record(self, kind: str, document: dict[str, Any]) -> None:
        if kind == "H":
            self.header.update(document)
        elif kind == "A":
            self._apis[whole(document["i"])] = _api(document)
        elif kind == "F":
            self._forms[whole(document["i"])] = (whole(document["a"]), dict(document["v"]))
        elif kind == "E":
            self.events.append(Event(document.pop("kind"), document))
        else:
            rows = [tuple(map(whole, row)) for row in document["r"]]
            for number, count, step in rows:
                held, last = self._repeats.get(number, (0, 0))
                self._repeats[number] = (held + count, max(last, step))

    def _has_parts(self, document: dict[str, Any]) -> bool:
        absent = [d for d in document.get("b", {}).values() if d not in self._blobs]
        if document["f"] in self._forms and not absent:
            if self._forms[document["f"]][0] not in self._apis:
                raise ValueError("its API is not in the file")
            return True
        note = f"call {document['n']} is left out: its form or a blob is not in the file"
        if note not in self.problems:
            self.problems.append(note)
        return False

    def _call(self, document: dict[str, Any]) -> Call:
        api, values = self._forms[document["f"]]
        blobs = document.get("b", {})
        arguments = {name: decode_value(v, name, blobs) for name, v in values.items()}
        repeats, last_step = self._repeats.get(document["n"], (0, 0))
        return Call(
            number=whole(document["n"]),
            api=self._apis[api],
            arguments=arguments,
            attributes={k: decode_value(v) for k, v in document.get("k", {}).items()},
            object=_optional(document.get("o")),
            plan=_optional(document.get("p")),
            step=_optional(document.get("s")),
            last_step=last_step or _optional(document.get("s")),
            mode=None if document.get("m") is None else str(document["m"]),
            layer=_optional(document.get("l")),
            time_ns=document.get("t", 0),
            count=1 + repeats,
            completed=not document.get("x"),
        )


def _optional(value: object) -> int | None:
    return None if value is None else whole(value)


def _api(document: dict[str, Any]) -> Api:
    return Api(
        path=text(document["p"]),
        method=text(document["m"]),
        signature=text(document["s"]),
        parameters=tuple(map(text, document["n"])),
        defaults={name: decode_value(value) for name, value in document["d"].items()},
    )


def find(folder: Path) -> list[Path]:
    """The recordings in a folder and below, by name."""
    return sorted(folder.rglob(f"*{SUFFIX}"))
