"""The report over HTTP, on this machine's loopback only, made anew when the dataset changed.

Other programs of this machine can reach a loopback port, and so can web pages in a browser that
looks here. So nothing but two paths is served, nothing is written, and a request whose Host header
names another machine is refused: that is how a page of elsewhere reaches in through DNS rebinding.
"""

from __future__ import annotations

import errno
import getpass
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kernelkit import cli
from kernelkit.dataset.store import Dataset
from kernelkit.errors import KernelkitError, UsageError
from kernelkit.report import documents
from kernelkit.report.page import render
from kernelkit.report.spool import Spool
from kernelkit.report.summary import Selection, summarize
from kernelkit.report.text import clean

ADDRESS = "127.0.0.1"
HOSTS = {"127.0.0.1", "localhost", "[::1]"}
READ = ("definitions", "workloads", "solutions", "traces")
SOCKET_SECONDS = 30
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
State = tuple[tuple[str, int, int], ...]


class Reports:
    """The page and the JSON document of a dataset, on disk until one of its files changes."""

    def __init__(self, root: Path, selection: Selection, command: str) -> None:
        self.root = root
        self.selection = selection
        self.command = command
        self._lock = threading.Lock()
        self._state: State | None = None
        self._documents: dict[str, Spool] = {}

    def get(self, path: str) -> Spool:
        """`/` or `/report.json`. Raises KeyError, KernelkitError for a full disk and what
        `summarize` raises."""
        with self._lock:
            state = self._look()
            if state != self._state:
                self._documents = self._made()
                self._state = state
            return self._documents[path]

    def _made(self) -> dict[str, Spool]:
        summary = summarize(Dataset.open(self.root), self.selection)
        try:
            return {
                "/": Spool([render(summary, self.command)]),
                "/report.json": Spool(documents.json_parts(summary)),
            }
        except OSError as error:
            raise KernelkitError(
                "the report cannot be kept in a temporary file", received=error.strerror,
                next_step="set TMPDIR to a folder with room",
            ) from None  # fmt: skip

    def _look(self) -> State:
        """Name, time and size of all files that the report is made of."""
        found = []
        for folder in READ:
            for path in sorted((self.root / folder).rglob("*.json*")):
                try:
                    facts = path.stat()
                except OSError:
                    continue  # replaced just now: the next request sees what it became
                found.append((str(path), facts.st_mtime_ns, facts.st_size))
        return tuple(found)


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of two paths; everything else is an error without details."""

    protocol_version = "HTTP/1.1"
    server_version = "kernelkit"
    sys_version = ""
    timeout = SOCKET_SECONDS
    server: Server

    def do_GET(self) -> None:
        """Answer with a document, or 304 where the browser has it."""
        if not self._host_is_here():
            return self._refuse(403, "this Host is not served")
        path = self.path.partition("?")[0]
        if path not in KINDS:
            return self._refuse(404, "not found")
        try:
            found = self.server.reports.get(path)
        except (KernelkitError, OSError) as error:
            return self._refuse(503, f"no report: {clean(str(error))}")
        tag = f'"{found.tag}"'
        if self.headers.get("If-None-Match") == tag:
            return self._answer(304, 0, (), KINDS[path], tag)
        self._answer(200, found.size, found.pieces(), KINDS[path], tag)

    do_HEAD = do_GET

    def _host_is_here(self) -> bool:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1:
            return False
        name, colon, port = hosts[0].strip().lower().rpartition(":")
        if not colon or not port.isdecimal():
            name = hosts[0].strip().lower()
        return name in HOSTS

    def _refuse(self, code: int, text: str) -> None:
        body = f"{text}\n".encode("utf-8", "replace")
        self._answer(code, len(body), [body], "text/plain")

    def _answer(
        self, code: int, size: int, pieces: Iterable[bytes], kind: str, tag: str = ""
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(size))
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        if self.command != "HEAD" and code != 304:
            self.wfile.writelines(pieces)

    def end_headers(self) -> None:
        """With the headers that every answer has, errors of the base class too."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """A line on stderr; what came in cannot steer the terminal."""
        cli.say(f"  {clean(format % args)}")


KINDS = {"/": "text/html", "/report.json": "application/json"}


class Server(ThreadingHTTPServer):
    """Listens from the moment it is made."""

    daemon_threads = True

    def __init__(self, port: int, reports: Reports) -> None:
        self.reports = reports
        super().__init__((ADDRESS, port), Handler)

    def server_bind(self) -> None:
        """Without the base class's look-up of this machine's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle of an answer is no error."""


def listen(port: int, reports: Reports) -> Server:
    """A listening server; port 0 takes a free one. Raises UsageError where it cannot listen."""
    try:
        return Server(port, reports)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise UsageError(
                f"cannot listen: {error.strerror}", received=f"port {port}",
                next_step="give another --port, or --port 0 for a free one",
            ) from None  # fmt: skip
        raise


def forwarding(port: int) -> str:
    """The command that brings the port to the machine in front of the user.

    In an SSH session the address that it came in by, else this machine's name.
    """
    _, _, address, ssh_port = (os.environ.get("SSH_CONNECTION", "").split() + [""] * 4)[:4]
    to = f"{_or_unknown(getpass.getuser, 'USER')}@{address or socket.gethostname()}"
    other = f" -p {ssh_port}" if ssh_port not in ("", "22") else ""
    return f"ssh -N -L {port}:{ADDRESS}:{port}{other} {to}"


def _or_unknown(ask: Callable[[], str], otherwise: str) -> str:
    try:
        return ask()
    except (OSError, KeyError):  # a user id without a name, as in a container
        return otherwise
