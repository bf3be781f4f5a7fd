"""Messages: what is answered, what is refused."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from kernelkit.bench.isolation.channel import (
    LENGTH,
    MOST_BYTES,
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    ProtocolError,
    serve,
)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


def test_a_served_request(ends: tuple[Channel, socket.socket]) -> None:
    ours, theirs = ends
    handlers = {"add": lambda a, b: a + b, "fail": lambda: 1 / 0}
    threading.Thread(target=serve, args=(Channel(theirs), handlers), daemon=True).start()
    assert ours.ask({"do": "add", "a": 1, "b": 2}, 5) == 3
    assert ours.ask({"do": "fail"}, 5) == {"error": "division by zero", "kind": "ZeroDivisionError"}
    assert ours.ask({"do": "add", "a": 2, "b": 2}, 5) == 4


@pytest.mark.parametrize(
    "data",
    [
        b'{"value": 1}',
        b'{"value": 1, "request": 5}',
        b'{"value": NaN, "request": 5}',
        b"[1]",
        b"\x80\x04N.",
        b"[" * 100_000,
    ],
)
def test_an_answer_that_was_not_asked_for(ends: tuple[Channel, socket.socket], data: bytes) -> None:
    ours, theirs = ends
    theirs.sendall(LENGTH.pack(len(data)) + data)
    with pytest.raises(ProtocolError):
        ours.ask({"do": "x"}, 5)


def test_a_length_beyond_the_limit_is_not_waited_for(ends: tuple[Channel, socket.socket]) -> None:
    ours, theirs = ends
    theirs.sendall(LENGTH.pack(MOST_BYTES + 1))
    with pytest.raises(ProtocolError, match="bytes"):
        ours.receive(5)


def test_silence_and_a_half_message_time_out(ends: tuple[Channel, socket.socket]) -> None:
    ours, theirs = ends
    theirs.sendall(LENGTH.pack(10) + b"{")
    with pytest.raises(ChannelTimeoutError):
        ours.ask({"do": "x"}, 0.1)


def test_the_other_side_is_gone(ends: tuple[Channel, socket.socket]) -> None:
    ours, theirs = ends
    theirs.close()
    with pytest.raises(ChannelClosedError):
        ours.ask({"do": "x"}, 5)


def test_watch_is_called_while_waiting(ends: tuple[Channel, socket.socket]) -> None:
    ours, _ = ends
    calls: list[int] = []
    with pytest.raises(ChannelTimeoutError):
        ours.ask({"do": "x"}, 0.2, lambda: calls.append(1))
    assert calls


def test_whether_something_comes(ends: tuple[Channel, socket.socket]) -> None:
    ours, theirs = ends
    assert not ours.ready(0.01)
    theirs.sendall(b"x")
    assert ours.ready(5)
