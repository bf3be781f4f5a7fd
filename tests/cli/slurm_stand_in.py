#!/usr/bin/env python3
"""A stand-in for srun, scontrol and hostname on this machine, by the name that it is called by.

`srun` runs its command once for each task and passes SIGTERM on; `scontrol show hostnames a,b`
prints the names. STAND_IN_LOG gets a line for each call.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(words: list[str]) -> int:
    """Stand in; returns the exit code."""
    name = Path(words[0]).name
    with open(os.environ["STAND_IN_LOG"], "a", encoding="utf-8") as log:
        log.write(" ".join([name, *words[1:]]).splitlines()[0] + "\n")
    if name == "scontrol":
        print("\n".join(words[3].split(",")))
        return 0
    if name == "hostname":
        print("127.0.0.1")
        return 0
    options = [word for word in words[1:] if word.startswith("--")]
    first = next(n for n, word in enumerate(words[1:], 1) if not word.startswith("--"))
    tasks = next(int(o.partition("=")[2]) for o in options if o.startswith("--ntasks="))
    running: list[subprocess.Popen[bytes]] = []

    def pass_on(*_: object) -> None:
        for process in running:
            process.terminate()

    signal.signal(signal.SIGTERM, pass_on)
    for number in range(tasks):
        time.sleep(number * float(os.environ.get("STAGGER_SECONDS", "3")))  # of one machine
        running.append(subprocess.Popen(words[first:]))
    return max(abs(process.wait()) for process in running)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
