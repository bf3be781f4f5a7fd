"""serve_report.py: loopback only, two paths, the Host header, fresh after a change, a clean end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import gemm

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "serve_report.py"
GEMM = gemm.FAMILY.definition(64, 64)
SECONDS = 30


def _line(solution: str) -> str:
    workload = {"uuid": "w", "axes": {"M": 1},
                "inputs": {"A": {"type": "random"}, "B": {"type": "random"}}}  # fmt: skip
    evaluation = {"status": "TIMEOUT", "timestamp": "2026-01-01T00:00:00Z", "log": "slow",
                  "environment": {"hardware": "GPU", "libs": {}}}  # fmt: skip
    return json.dumps({"definition": GEMM.name, "solution": solution, "workload": workload,
                       "evaluation": evaluation}) + "\n"  # fmt: skip


@contextmanager
def _serving(*words: object, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A server that ends with the block, or when it hangs."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--port", "0", *map(str, words)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **variables},
    )  # fmt: skip
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
            process.communicate()


def _port_of(process: subprocess.Popen[str]) -> int:
    """From the JSON document that the server prints before it serves."""
    assert process.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        line = process.stdout.readline()
        assert line, "it ended without an address"
        text += line
    return int(json.loads(text)["url"].split(":")[2].strip("/"))


@pytest.fixture
def root(dataset: Dataset) -> Path:
    """A dataset with one trace, whose solution is called first."""
    _fill(dataset)
    return dataset.root


def _fill(dataset: Dataset) -> None:
    dataset.write_definition(GEMM)
    path = dataset.trace_path(GEMM)
    path.parent.mkdir(parents=True)
    path.write_text(_line("first"), encoding="utf-8")


@pytest.fixture(scope="module")
def shared_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server for tests that only ask."""
    made = Dataset.create(tmp_path_factory.mktemp("served") / "dataset")
    _fill(made)
    with _serving("--dataset", made.root, "--json") as process:
        yield _port_of(process)


@pytest.fixture
def port(root: Path) -> Iterator[int]:
    """A running server's port."""
    with _serving("--dataset", root, "--json") as process:
        yield _port_of(process)


def _ask(
    port: int, path: str = "/", *, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_page_and_the_json(shared_port: int) -> None:
    answer, body = _ask(shared_port)
    assert (answer.status, answer.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    assert b"first" in body and b"slow" in body
    answer, body = _ask(shared_port, "/report.json?x=1")
    assert answer.status == 200
    assert json.loads(body)["traces"][0]["solution"] == "first"
    for name, value in (("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
                        ("Cross-Origin-Resource-Policy", "same-origin")):  # fmt: skip
        assert answer.getheader(name) == value
    assert answer.getheader("Access-Control-Allow-Origin") is None


def test_only_a_host_of_this_machine_is_served(shared_port: int) -> None:
    own = f"127.0.0.1:{shared_port}"
    good = ["localhost", "127.0.0.1", "LOCALHOST:9", own, "[::1]:8000", "[::1]"]
    bad = ["evil.example", f"evil.example:{shared_port}", f"{own}.evil.example", "localhost.evil",
           "evil@localhost", "0.0.0.0", "", "localhost:x"]  # fmt: skip
    assert {_ask(shared_port, Host=host)[0].status for host in good} == {200}
    assert {_ask(shared_port, Host=host)[0].status for host in bad} == {403}


def test_no_host_and_two_hosts_are_refused(shared_port: int) -> None:
    for head in ("GET / HTTP/1.0\r\n\r\n",
                 "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n"):  # fmt: skip
        with socket.create_connection(("127.0.0.1", shared_port), timeout=SECONDS) as raw:
            raw.sendall(head.encode())
            assert b" 403 " in raw.recv(4096).splitlines()[0]


@pytest.mark.parametrize(
    "path",
    ["/traces", "/traces/", "/../etc/passwd", "/%2e%2e/", "/index.html", "/report.json/",
     "/definitions/gemm/gemm_n64_k64.json"],
)  # fmt: skip
def test_nothing_else_is_there(shared_port: int, path: str) -> None:
    answer, body = _ask(shared_port, path)
    assert (answer.status, body) == (404, b"not found\n")


def test_an_address_in_the_request_line_is_no_path(shared_port: int) -> None:
    with socket.create_connection(("127.0.0.1", shared_port), timeout=SECONDS) as raw:
        raw.sendall(b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 404 " in raw.recv(4096).splitlines()[0]


def test_other_methods_are_refused(shared_port: int) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer, _ = _ask(shared_port, method=method)
        assert answer.status == 501
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
    answer, body = _ask(shared_port, method="HEAD")
    assert (answer.status, body) == (200, b"")


def test_a_change_of_the_traces_shows(port: int, root: Path) -> None:
    answer, body = _ask(port)
    tag = answer.getheader("ETag") or ""
    assert b"second" not in body
    assert _ask(port, If_None_Match=tag)[0].status == 304
    with open(Dataset.open(root).trace_path(GEMM), "a", encoding="utf-8") as file:
        file.write(_line("second"))
    answer, body = _ask(port, If_None_Match=tag)
    assert answer.status == 200 and b"second" in body and b"first" in body


def test_a_broken_dataset_is_told_and_mended(port: int, root: Path) -> None:
    hidden = root.with_name("hidden")
    root.rename(hidden)
    answer, body = _ask(port)
    assert answer.status == 503 and b"no report: no such dataset" in body
    hidden.rename(root)
    assert _ask(port)[0].status == 200


def test_it_listens_on_loopback_only(shared_port: int) -> None:
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    if not tables[0].exists():
        pytest.skip("no /proc/net/tcp here")
    lines = [line.split() for t in tables if t.exists() for line in t.read_text().splitlines()[1:]]
    local = {fields[1] for fields in lines if fields[3] == "0A"}  # listening
    mine = {address for address in local if address.endswith(f":{shared_port:04X}")}
    assert mine == {f"0100007F:{shared_port:04X}"}


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(root: Path, end: signal.Signals) -> None:
    with _serving("--dataset", root, "--json") as process:
        port = _port_of(process)
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS):  # asks for nothing
            process.send_signal(end)
            _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert told.splitlines()[-1] == "stopped" and "Traceback" not in told


def test_it_prints_how_to_reach_it(root: Path) -> None:
    session = "1.2.3.4 5 10.0.0.7 2222"
    with _serving("--dataset", root, SSH_CONNECTION=session) as process:
        assert process.stdout is not None
        shown = [process.stdout.readline() for _ in range(3)]
    found = re.fullmatch(r"report: (http://127\.0\.0\.1:(\d+)/)\n", shown[0])
    assert found
    url, port = found.groups()
    forward = rf"ssh -N -L {port}:127\.0\.0\.1:{port} -p 2222 \S+@10\.0\.0\.7\n"
    assert re.search(forward, shown[1])
    assert url in shown[2]


def test_a_taken_port_is_one_clear_error(root: Path, shared_port: int) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--dataset", str(root), "--port", str(shared_port)],
        capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot listen" in done.stderr and "--port 0" in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--port", "70000"), 2, "not a port"),
        (("--port", "-1"), 2, "not a port"),
        (("--baseline", "absent"), 2, "no such solution"),
        (("--dataset", "absent"), 2, "no such dataset"),
    ],
)
def test_bad_input(root: Path, words: tuple[str, ...], code: int, message: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--dataset", str(root), "--port", "0", *words],
        capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_escape_sequences_of_a_request_do_not_reach_the_terminal(root: Path) -> None:
    with _serving("--dataset", root, "--json") as process:
        port = _port_of(process)
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as raw:
            raw.sendall(b"GET /\x1b[2J HTTP/1.1\r\nHost: localhost\r\n\r\n")
            raw.recv(100)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=SECONDS)
    assert "[2J" in told and "\x1b" not in told
