"""Makes shared memory, semaphores and message queues of System V, which outlive processes.

It removes them itself: the mark says that they could have stayed.
"""

from __future__ import annotations

import torch

from .tools import libc, mark, rmsnorm

PRIVATE, CREATE, REMOVE = 0, 0o1600, 0
_done: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        if (memory := libc.shmget(PRIVATE, 4096, CREATE)) >= 0:
            mark("system_v_memory", memory)
            libc.shmctl(memory, REMOVE, None)
        if (semaphore := libc.semget(PRIVATE, 1, CREATE)) >= 0:
            mark("system_v_semaphore", semaphore)
            libc.semctl(semaphore, 0, REMOVE)
        if (queue := libc.msgget(PRIVATE, CREATE)) >= 0:
            mark("system_v_queue", queue)
            libc.msgctl(queue, REMOVE, None)
    return rmsnorm(hidden_states, weight)
