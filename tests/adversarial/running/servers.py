"""Servers that no entry of a corpus may reach: TCP, UDP, a socket in a file, one without a name."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import socket
import threading
from pathlib import Path


class Servers:
    """They answer every byte with a y; `reached` names the kinds that somebody spoke to."""

    def __init__(self, folder: Path) -> None:
        self.reached: set[str] = set()
        self.sockets = {
            "tcp": socket.create_server(("127.0.0.1", 0)),
            "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "abstract": socket.socket(socket.AF_UNIX),
            "file": socket.socket(socket.AF_UNIX),
        }
        self.sockets["udp"].bind(("127.0.0.1", 0))
        self.name = f"corpus-{secrets.token_hex(8)}"
        self.sockets["abstract"].bind(f"\0{self.name}")
        _bind_in(folder, self.sockets["file"])
        self.sockets["abstract"].listen()
        self.sockets["file"].listen()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def addresses(self) -> str:
        """JSON of the ports and names."""
        ports = {kind: [self.sockets[kind].getsockname()[1]] for kind in ("tcp", "udp")}
        return json.dumps({**ports, "abstract": [self.name]})

    def stop(self) -> None:
        """End them."""
        self.stopping.set()
        self.thread.join()
        for end in self.sockets.values():
            end.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for kind, end in self.sockets.items():
                selector.register(end, selectors.EVENT_READ, kind)
            while not self.stopping.is_set():
                for key, _ in selector.select(0.1):
                    with contextlib.suppress(OSError):
                        self._answer(key.data)

    def _answer(self, kind: str) -> None:
        if kind == "udp":
            self.sockets[kind].recv(64)
            self.reached.add(kind)
            return
        end, _ = self.sockets[kind].accept()
        with end:
            end.settimeout(1.0)
            self.reached.add(kind)
            if end.recv(1):
                end.send(b"y")


def _bind_in(folder: Path, end: socket.socket) -> None:
    """Bind to folder/socket: by a short relative name, as such names must be short."""
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        end.bind("socket")
        os.chmod("socket", 0o777)
    finally:
        os.fchdir(here)
        os.close(here)
