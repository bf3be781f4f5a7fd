"""Looks for places in the kernel where one solution could leave answers for another: message
queues, keyrings, datagrams to a name."""

from __future__ import annotations

import ctypes
import os
import platform
import socket

import torch

from .tools import libc, mark, rmsnorm

NUMBERS = {"x86_64": (240, 248), "aarch64": (180, 217)}  # mq_open, add_key
SESSION, USER = -3, -4
_done: list[bool] = []


def _look() -> None:
    mq_open, add_key = NUMBERS[platform.machine()]
    flags = os.O_CREAT | os.O_RDWR
    if (queue := libc.syscall(mq_open, b"corpus", flags, 0o666, None)) >= 0:
        mark("message_queue")
        os.close(queue)
    for name, ring in (("session", SESSION), ("user", USER)):
        if libc.syscall(add_key, b"user", b"corpus", b"x", ctypes.c_size_t(1), ring) >= 0:
            mark(f"{name}_keyring")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        for block in range(4):
            try:
                end.sendto(b"x", f"\0kernelkit-users-{block}")
                mark("datagram")
            except OSError as error:
                print(error)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        _look()
    return rmsnorm(hidden_states, weight)
