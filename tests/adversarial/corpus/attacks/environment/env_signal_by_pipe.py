"""Has the system signal the evaluator's processes: as owner of a pipe that becomes readable."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time

import torch

from .tools import ancestors, mark, rmsnorm

F_SETSIG = 10


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    pids = ancestors()[:1]
    for pid in pids:
        one, other = socket.socketpair()
        try:
            fcntl.fcntl(one, fcntl.F_SETOWN, pid)
            fcntl.fcntl(one, F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(one, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
            other.send(b"x")
        except OSError:
            continue
    time.sleep(0.05)
    for pid in pids:
        if not os.path.exists(f"/proc/{pid}"):
            mark("signal_sent", "SIGIO")
    return rmsnorm(hidden_states, weight)
