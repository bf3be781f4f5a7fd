"""Prompts, requests, the server's readiness, the disk's budget: on the loopback, without torch."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kernelkit.capture.collection import driving, prompts, server
from kernelkit.capture.collection.budget import DiskBudget, DiskLimitError, estimate_bytes
from kernelkit.capture.collection.driving import Arrival, RequestsFailedError, drive
from kernelkit.capture.collection.prompts import Lengths, Prompt
from kernelkit.capture.collection.server import (
    Launch,
    Server,
    ServerDiedError,
    given_launch,
    given_sizes,
)
from kernelkit.errors import DeadlineError, FormatError, UsageError

FORMATS: dict[str, Any] = {
    "sharegpt.json": [{"id": "1", "conversations": [
        {"from": "human", "value": "What is a kernel? Tell me."},
        {"from": "gpt", "value": "A function that runs on a GPU."},
        {"from": "human", "value": "And a grid?"}]}],
    "alpaca.json": [{"instruction": "Translate", "input": "good day", "output": "guten Tag"}],
    "chat.jsonl": {"messages": [{"role": "user", "content": "Hello there, my friend"}]},
    "plain.jsonl": {"prompt": "Once upon a time there was", "completion": "a kernel"},
    "turns.jsonl": {"turns": ["First question, rather long", "Second question"]},
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_prompts(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(FORMATS[name]) + "\n")
    found = prompts.file_prompts(tmp_path / name, 10, Lengths(1024, 32), 1000, 0)
    assert len(found) == {"sharegpt.json": 2, "turns.jsonl": 2}.get(name, 1)
    assert all(prompt.ids and 1 <= prompt.new_tokens <= 32 for prompt in found)
    assert all(10 <= one < 1000 for prompt in found for one in prompt.ids)


def test_turns_of_a_conversation_share_their_prefix(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(FORMATS["sharegpt.json"]))
    first, second = prompts.file_prompts(path, 10, Lengths(), 50_000, 0)
    assert len(second.ids) > len(first.ids)
    assert second.ids[: len(first.ids) - 1] == first.ids[:-1]


@pytest.mark.parametrize("text", ["", "not json\n", "[]", '{"other": 1}\n', '"text"'])
def test_a_file_without_conversations_is_an_error_and_no_loop(text: str, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text(text)
    with pytest.raises(FormatError, match="no conversation"):
        prompts.load(str(tmp_path / "empty.jsonl"), 5, Lengths(), 1000, 0)


def test_real_conversations(extra: Path) -> None:
    for path in sorted((extra / "data" / "prompts").iterdir()):
        found = prompts.load(str(path), 50, Lengths(512, 64), 32000, 1)
        assert len(found) > 20, path


def test_random_lengths_have_their_range_and_repeat() -> None:
    found = prompts.random_prompts(200, Lengths(100, 20, 0.5), 1000, 3)
    sizes = [len(prompt.ids) for prompt in found]
    assert (min(sizes) >= 50, max(sizes) <= 100, len(set(sizes)) > 20) == (True, True, True)
    assert found == prompts.random_prompts(200, Lengths(100, 20, 0.5), 1000, 3)
    with pytest.raises(UsageError, match="path"):
        prompts.load("sharegpt", 5, Lengths(), 1000, 0)


class Handler(BaseHTTPRequestHandler):
    """Answers after a while; counts how many at once."""

    inside = most = 0
    lock = threading.Lock()
    fails = False

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with Handler.lock:
            Handler.inside += 1
            Handler.most = max(Handler.most, Handler.inside)
        time.sleep(0.02)
        with Handler.lock:
            Handler.inside -= 1
        answer = json.dumps({"output_ids": [1] * body["sampling_params"]["max_new_tokens"]})
        self.send_response(500 if Handler.fails else 200)
        self.end_headers()
        self.wfile.write(b"broken" if Handler.fails else answer.encode())


@pytest.fixture
def url() -> Iterator[str]:
    """A server on the loopback."""
    Handler.inside = Handler.most = 0
    Handler.fails = False
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()


ASKED = [Prompt([11, 12], 3)] * 40


def test_all_requests_are_answered_at_most_so_many_at_once(url: str) -> None:
    found = drive(url, ASKED, {}, Arrival(concurrency=4), watch=lambda: None)
    assert (found.sent, found.answered, found.new_tokens, found.errors) == (40, 40, 120, [])
    assert 2 <= Handler.most <= 4


def test_requests_arrive_at_their_rate(url: str) -> None:
    found = drive(url, ASKED[:20], {}, Arrival(concurrency=20, rate=40.0), watch=lambda: None)
    assert found.answered == 20
    assert 0.2 < found.seconds < 3  # 20 at 40 a second: half a second on average


def test_a_server_that_only_fails_is_given_up(url: str) -> None:
    Handler.fails = True
    with pytest.raises(RequestsFailedError, match="HTTP 500: broken"):
        drive(url, ASKED, {}, Arrival(concurrency=4), watch=lambda: None)


def test_watching_stops_the_traffic(url: str) -> None:
    def watch() -> None:
        raise DiskLimitError("full")

    with pytest.raises(DiskLimitError):
        drive(url, ASKED, {}, Arrival(), watch=watch)


PROGRAM = """
import http.server, sys, time
port, delay, life = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200 if time.time() > start + delay else 503); self.end_headers()
start = time.time()
made = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
made.timeout = 0.1
while time.time() < start + life: made.handle_request()
print("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.")
sys.exit(1)
"""


def launch(delay: float, life: float) -> Launch:
    port = server.free_port()
    command = (sys.executable, "-c", PROGRAM, str(port), str(delay), str(life))
    return Launch(command, "127.0.0.1", port)


def test_a_free_port_leaves_room_for_sglangs_second_one() -> None:
    """SGLang takes ten thousand more, and ends where that is above 65535."""
    ports = {server.free_port() for _ in range(20)}
    assert len(ports) > 1 and max(ports) + 10_000 <= 65_535
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        held = taken.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server, "PORTS", range(held, held + 1))
            with pytest.raises(UsageError, match="no free port"):
                server.free_port()


def run_server(made: Launch, tmp_path: Path) -> Server:
    return Server(made, log=tmp_path / "log", env={}, cwd=tmp_path)


def test_readiness_is_asked_for_and_the_server_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # our own server is asked directly
    monkeypatch.setattr(server, "POLL_S", 0.05)
    made = launch(0.5, 60)
    with run_server(made, tmp_path) as running:
        assert running.wait_ready(20) >= 0.4
    assert driving.status(f"{made.url}/health", 1) == 0


def test_a_server_that_never_gets_ready_meets_the_deadline(tmp_path: Path) -> None:
    with pytest.raises(DeadlineError, match="did not get ready"):
        with run_server(launch(99, 60), tmp_path) as running:
            running.wait_ready(1)


def test_a_server_that_dies_says_why_at_once(tmp_path: Path) -> None:
    with pytest.raises(ServerDiedError, match="no room for the KV cache"):
        with run_server(launch(99, 0.2), tmp_path) as running:
            running.wait_ready(60)


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        made = Launch(("false",), "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(UsageError, match="port in use"):
            run_server(made, tmp_path)
    assert not (tmp_path / "log").exists()


def test_a_launch_command_tells_its_port() -> None:
    made = given_launch("python3 -m sglang.launch_server --host 0.0.0.0 --port=31000")
    assert made.url == "http://127.0.0.1:31000"
    assert given_launch("sglang serve x").port == 30000
    with pytest.raises(UsageError):
        given_launch("x --port many")


def test_a_launch_command_tells_its_parallel_sizes() -> None:
    assert given_sizes("sglang serve x --tp 8 --expert-parallel-size=4") == (8, 4)
    assert given_sizes("sglang serve x") == (1, 1)
    with pytest.raises(UsageError, match="no number for --tp"):
        given_sizes("sglang serve x --tp-size many")


def test_the_budget_stops_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(os.urandom(5000))
    DiskBudget(tmp_path, 10_000, 0).check(now=True)
    with pytest.raises(DiskLimitError, match="--max-disk-gb"):
        DiskBudget(tmp_path, 4000, 0).check(now=True)
    with pytest.raises(DiskLimitError, match="nearly full"):
        DiskBudget(tmp_path, 10_000, 1 << 60).check(now=True)
    lazy = DiskBudget(tmp_path, 1, 0)
    for _ in range(9):
        lazy.check()
    with pytest.raises(DiskLimitError):
        lazy.check()


def test_the_estimate_tells_level_10_from_the_recorder() -> None:
    found = estimate_bytes(steps=100, requests=32, mean_tokens=1024, layers=32)
    assert found["level10"] > 1000 * found["recorder"]
