"""Runs test files in processes of their own and reads what the plugin wrote.

Files of one op type share a process: torch, FlashInfer and a GPU are set up once. A file that fails
there runs again alone, so that a fault which poisons a process is laid at the right door.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit import places
from kernelkit.errors import MissingDependencyError
from kernelkit.reftests import plugin

MOST_OUTPUT = 2000  # characters of a process's output that are kept

Row = dict[str, Any]


@dataclass
class FileRun:
    """What one test file did: a row a test; `trouble` where the process ended without them all."""

    rows: list[Row] = field(default_factory=list)
    trouble: str = ""
    machine: Row = field(default_factory=dict)  # device and versions; {} where it ended early

    @property
    def failed(self) -> bool:
        """Whether something went wrong."""
        return bool(self.trouble) or any(row["outcome"] == "failed" for row in self.rows)


def run_files(root: Path, paths: Sequence[Path], timeout_s: float) -> dict[Path, FileRun]:
    """Runs the files in one process, those that fail once more alone. `timeout_s` is for each.

    Raises MissingDependencyError without pytest or torch.
    """
    require_packages()
    root = root.resolve()  # pytest runs in it
    runs = run_once(root, paths, timeout_s * len(paths))
    for path in paths:
        if len(paths) > 1 and runs[path].failed:
            runs[path] = run_once(root, [path], timeout_s)[path]
    return runs


def require_packages() -> None:
    """Raises MissingDependencyError where the tests could not run at all."""
    from importlib.util import find_spec

    for package in ("torch", "pytest"):
        if find_spec(package) is None:
            raise MissingDependencyError(
                f"reference tests need {package}", next_step=f"pip install {package}"
            )


def run_once(root: Path, paths: Sequence[Path], timeout_s: float) -> dict[Path, FileRun]:
    """Runs the files in one process that has `timeout_s` for all of them."""
    with tempfile.TemporaryDirectory(prefix="kernelkit-tests-") as folder:
        log = Path(folder) / "log.jsonl"
        log.touch()
        code, trouble = _pytest(root, paths, log, timeout_s)
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    by_file: dict[str, list[Row]] = defaultdict(list)
    machine: Row = {}
    for row in rows:
        if "machine" in row:
            machine = row["machine"]
        else:
            by_file[row["file"]].append(row)
    if not trouble and not machine:  # a test can end the process with any code
        trouble = f"the process ended with code {code} before its last test"
    return {path: FileRun(by_file[path.name], trouble, machine) for path in paths}


def _pytest(
    root: Path, paths: Sequence[Path], log: Path, timeout_s: float
) -> tuple[int | None, str]:
    """Runs pytest; returns its code, and why it ended without a verdict, or ""."""
    root, paths = root.resolve(), [path.resolve() for path in paths]  # pytest runs in root
    # No configuration of a project around the dataset, no cache, nothing left in the dataset.
    command = [
        sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(root),
        "--import-mode=importlib", "-p", "no:cacheprovider", "-p", plugin.__name__,
        *(str(path.resolve()) for path in paths),
    ]  # fmt: skip
    environment = {
        **os.environ,
        plugin.LOG: str(log),
        "PYTHONPATH": places.import_path(),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    process = subprocess.Popen(
        command, cwd=root, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output = process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        _end(process)
        return None, f"not finished in {timeout_s:.0f} s"
    except BaseException:
        _end(process)
        raise
    code = process.returncode
    if code in (0, 1):  # all passed, or some failed
        return code, ""
    return code, f"pytest ended with code {code}: {output[-MOST_OUTPUT:]}"


def _end(process: subprocess.Popen[str]) -> None:
    """Ends the process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
