"""Connects to servers on this machine: TCP, UDP, and sockets in files or without a name."""

from __future__ import annotations

import socket
from pathlib import Path

import torch

from .tools import PLACES, SERVERS, mark, rmsnorm


def _reach(kind: str, family: int, way: int, address: object) -> None:
    try:
        with socket.socket(family, way) as end:
            end.settimeout(1.0)
            end.connect(address)  # type: ignore[arg-type]
            end.send(b"x")
            if way == socket.SOCK_STREAM:
                if end.recv(1) == b"y":
                    mark(f"connected_{kind}")
    except (OSError, ValueError):
        pass


for port in SERVERS.get("tcp", []):
    _reach("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port))
    _reach("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::ffff:127.0.0.1", port))
for port in SERVERS.get("udp", []):
    _reach("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port))
for name in SERVERS.get("abstract", []):
    _reach("abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\0" + name)
_reach("file", socket.AF_UNIX, socket.SOCK_STREAM, str(Path(PLACES) / "socket"))


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
