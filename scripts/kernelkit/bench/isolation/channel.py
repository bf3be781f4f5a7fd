"""Messages between the evaluator's processes: a length, then JSON. Nothing is ever unpickled.

Each request carries a random number that its answer repeats, so that an answer that was forged or
sent before the request is seen as such.
"""

from __future__ import annotations

import json
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

LENGTH = struct.Struct("!I")
MOST_BYTES = 1 << 20  # of one answer
POLL_SECONDS = 0.02

Message = dict[str, Any]


class ChannelClosedError(Exception):
    """The other side is gone."""


class ChannelTimeoutError(Exception):
    """The other side gave no answer in time."""


class ProtocolError(Exception):
    """The other side sent what is no answer to the request."""


class Channel:
    """One end of a stream socket."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    def fileno(self) -> int:
        """The descriptor, for select and for passing on."""
        return self.socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self.socket.close()

    def send(self, message: Message) -> None:
        """Send one message. Raises ChannelClosedError."""
        data = json.dumps(message).encode()
        try:
            self.socket.sendall(LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise ChannelClosedError(str(error)) from None

    def ask(self, message: Message, seconds: float, watch: Callable[[], None] | None = None) -> Any:
        """Send a request and return its answer's `value`.

        `watch` is called while waiting, about every 50 ms, and may raise. Raises
        ChannelTimeoutError after `seconds`, ChannelClosedError, ProtocolError.
        """
        return self.answer(self.post(message), seconds, watch)

    def post(self, message: Message) -> int:
        """Send a request; the number by which `answer` knows its answer."""
        number = secrets.randbits(62)
        self.send({**message, "request": number})
        return number

    def ready(self, seconds: float) -> bool:
        """Whether something comes from the other side within so many seconds."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def answer(self, number: int, seconds: float, watch: Callable[[], None] | None = None) -> Any:
        """The `value` of the answer to a request that was posted; see `ask`."""
        answer = self.receive(seconds, watch)
        if answer.get("request") != number or "value" not in answer:
            raise ProtocolError("an answer to no request")
        return answer["value"]

    def receive(self, seconds: float | None, watch: Callable[[], None] | None = None) -> Message:
        """The next message. Raises ChannelTimeoutError, ChannelClosedError, ProtocolError."""
        deadline = None if seconds is None else time.monotonic() + seconds
        (length,) = LENGTH.unpack(self._exactly(LENGTH.size, deadline, watch))
        if length > MOST_BYTES:
            raise ProtocolError(f"a message of {length} bytes")
        try:
            message = json.loads(self._exactly(length, deadline, watch), parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise ProtocolError("a message that is no JSON") from None
        if not isinstance(message, dict):
            raise ProtocolError("a message that is no object")
        return message

    def _exactly(
        self, count: int, deadline: float | None, watch: Callable[[], None] | None
    ) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._wait(deadline, watch)
            try:
                part = self.socket.recv(count - len(parts))
            except OSError as error:
                raise ChannelClosedError(str(error)) from None
            if not part:
                raise ChannelClosedError("closed")
            parts += part
        return bytes(parts)

    def _wait(self, deadline: float | None, watch: Callable[[], None] | None) -> None:
        if deadline is None:
            return
        while True:
            left = deadline - time.monotonic()
            if select.select([self.socket], [], [], max(0.0, min(left, POLL_SECONDS)))[0]:
                return
            if left <= 0:
                raise ChannelTimeoutError
            if watch is not None:
                watch()


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def serve(channel: Channel, handlers: dict[str, Callable[..., Any]]) -> None:
    """Answer requests until the other side closes: `do` names the handler, the rest its arguments.

    A handler's exception is the answer {"error": ..., "kind": ...}; the loop goes on.
    """
    while True:
        try:
            request = channel.receive(None)
        except ChannelClosedError:
            return
        number, name = request.pop("request"), request.pop("do")
        try:
            value = handlers[name](**request)
        except Exception as error:  # whatever it raises
            value = {"error": str(error) or type(error).__name__, "kind": type(error).__name__}
        channel.send({"request": number, "value": value})
