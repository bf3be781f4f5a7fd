"""Networks that fail: a real server that refuses, breaks off, or has nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kernelkit.sources.git import Git, GitError, patiently

Run = Callable[..., str]


class _Server(ThreadingHTTPServer):
    """Serves repositories as files (git's simplest protocol), after some failures."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder, self.failures, self.how, self.asked = folder, range(0), 503, []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, request: Any, address: Any, server: _Server) -> None:
        super().__init__(request, address, server, directory=str(server.folder))

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        server: Any = self.server
        server.asked.append(self.path)
        if len(server.asked) not in server.failures:
            return super().do_GET()
        if server.how == "break":
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        return self.send_error(server.how)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server(upstream: Any, desk: Any, run_git: Run) -> Iterator[_Server]:
    """A server of the hosted repositories; the desk's sglang comes from it."""
    run_git("update-server-info", at=upstream.bare)
    made = _Server(upstream.bare.parent)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    desk.mirrors["sglang"] = f"http://127.0.0.1:{made.server_port}/sglang.git"
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.parametrize("how", [503, 429, "break"])
def test_passing_failures_are_tried_again(desk: Any, server: _Server, how: Any) -> None:
    server.how, server.failures = how, range(1, 3)
    outcome = desk.one(retries=3)
    assert (outcome.action, outcome.error) == ("cloned", None)
    assert [text.rpartition("(")[2] for text in desk.said] == ["1 of 3)", "2 of 3)"]


def test_failure_in_the_middle_of_a_fetch(desk: Any, server: _Server) -> None:
    desk.one(dry_run=True)
    asking = len(server.asked)  # requests of ls-remote; the fetch asks for refs, then objects
    server.asked.clear()
    server.how, server.failures = "break", range(asking + 4, asking + 6)
    assert desk.one(retries=3).action == "cloned"
    assert any("/objects/" in server.asked[number - 1] for number in server.failures)
    assert len(desk.said) in (1, 2)


def test_a_network_that_stays_away_is_named(desk: Any, server: _Server, make_upstream: Any) -> None:
    desk.mirrors["flashinfer"] = str(make_upstream("flashinfer").bare)
    server.failures = range(10**6)
    bad, good = desk("sglang", "flashinfer", retries=2)
    assert (bad.action, good.action) == ("failed", "cloned")
    assert "503" in bad.error and "--mirror sglang=" in bad.next_step
    assert len(desk.said) == 2
    assert sorted(path.name for path in desk.target.iterdir()) == [
        "flashinfer", "repos_config.json"]  # fmt: skip


@pytest.mark.parametrize("how", [404, 403, 401])
def test_lasting_failures_are_not_tried_again(desk: Any, server: _Server, how: int) -> None:
    server.how, server.failures = how, range(10**6)
    outcome = desk.one(retries=3)
    assert outcome.failed and desk.said == []


def test_unknown_host_and_closed_port_pass(desk: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"http://127.0.0.1:{port}/x.git", "http://no-such-host.invalid/x.git"):
        desk.said.clear()
        outcome = desk.one(mirrors={"sglang": address}, retries=1)
        assert outcome.failed and "check the network" in outcome.next_step
        assert len(desk.said) == 1


def test_waits_double(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("kernelkit.sources.git.time.sleep", waits.append)

    def fail() -> None:
        raise GitError(["fetch"], 128, "fatal: Could not resolve host: github.com")

    with pytest.raises(GitError):
        patiently(fail, retries=3, wait_s=2.0, say=lambda _: None)
    assert waits == [2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("said", "passing"),
    [
        ("fatal: unable to access 'https://x/': Could not resolve host: x", True),
        ("fatal: unable to access 'https://x/': Failed to connect to x port 443", True),
        ("error: RPC failed; curl 92 HTTP/2 stream 5 was not closed cleanly", True),
        ("fetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF", True),
        ("fatal: unable to access 'https://x/': The requested URL returned error: 502", True),
        ("ssh: connect to host x port 22: Connection timed out", True),
        ("GnuTLS recv error (-110): The TLS connection was non-properly terminated.", True),
        ("fatal: repository 'https://x/' not found", False),
        ("fatal: could not read Username for 'https://x': terminal prompts disabled", False),
        ("fatal: unable to access 'https://x/': The requested URL returned error: 403", False),
        ("fatal: unable to access: server certificate verification failed", False),
        ("fatal: '/x' does not appear to be a git repository", False),
        ("error: unable to write file a.py: No space left on device", False),
        ("git@x: Permission denied (publickey).\nfatal: Could not read from remote", False),
    ],
)
def test_which_failures_pass(said: str, passing: bool) -> None:
    assert GitError(["fetch"], 128, said).passing is passing
    assert not GitError(["fetch"], -15, said).passing


def test_progress_is_read_and_errors_are_short(tmp_path: Path, upstream: Any) -> None:
    git, seen = Git(), []
    git("init", "-q", at=tmp_path)
    git.long("fetch", "--progress", f"file://{upstream.bare}", at=tmp_path,
             progress=lambda *parts: seen.append(parts))  # fmt: skip
    assert ("Counting objects", 5, 5, "done.") in seen
    with pytest.raises(GitError) as caught:
        git.long("fetch", "--progress", "/nowhere", at=tmp_path, progress=lambda *_: None)
    assert str(caught.value.received).startswith("fatal: '/nowhere' does not appear")
