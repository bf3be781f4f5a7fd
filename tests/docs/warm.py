"""Run Python commands as if each were a new process, without importing torch for each anew.

One Python loads what is installed (nothing of the pack), then forks for each command: the child
gets the command's folder, environment and arguments, and reads the pack from there. It saves a
third of the time that the examples of CONTRIBUTING.md take. Also the program of that Python: one
JSON request a line on stdin, one exit code a line on stdout.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "pydantic", "safetensors", "jinja2", "pytest", "yaml")


class Warm:
    """The Python that forks; a context manager that ends it."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=environment, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: int
    ) -> tuple[int, str]:
        """`python WORDS` in a folder: the exit code and all that it printed; -14 at the limit."""
        log = folder.with_name(f"{folder.name}.log")
        request = {"words": list(words), "folder": str(folder), "environment": dict(environment),
                   "log": str(log), "seconds": seconds}  # fmt: skip
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the warm Python ended"
        return int(answer), log.read_text(encoding="utf-8", errors="replace")


def _serve() -> None:
    for package in PACKAGES:
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict[str, Any]) -> None:
    """Be the command; does not return."""
    signal.alarm(request["seconds"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    words = request["words"]
    code: object = 1
    try:
        if words[0] == "-m":
            sys.argv, sys.path[0] = words[1:], request["folder"]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = words, str(Path(words[0]).resolve().parent)
            runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _serve()
