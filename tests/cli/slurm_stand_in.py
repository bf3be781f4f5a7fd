#!/usr/bin/env python3
"""A stand-in for srun, scontrol and hostname on this machine, by the name that it is called by.

`srun` runs its command, once. As the real one does, it passes SIGUSR1 on and answers
SIGTERM by killing. `scontrol show hostnames a,b` prints the names, `scontrol show node a` where it
is. STAND_IN_LOG gets a line for each call.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Stand in; returns the exit code."""
    name = Path(words[0]).name
    with open(os.environ["STAND_IN_LOG"], "a", encoding="utf-8") as log:
        log.write(" ".join([name, *words[1:]]).splitlines()[0] + "\n")
    if name == "scontrol":
        of_node = words[2] == "node"
        print("   NodeAddr=127.0.0.1 NodeHostName=x" if of_node else words[3].replace(",", "\n"))
        return 0
    if name == "hostname":
        print("n1")
        return 0
    first = next(n for n, word in enumerate(words[1:], 1) if not word.startswith("--"))
    task = subprocess.Popen(words[first:])

    def pass_on(number: int, _: object) -> None:
        task.send_signal(signal.SIGKILL if number == signal.SIGTERM else number)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, pass_on)
    return abs(task.wait())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
