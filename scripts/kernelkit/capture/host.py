"""Which Python runs SGLang, and what it has: `current`, `conda:NAME` or `venv:PATH`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.errors import MissingDependencyError, UsageError

PROBE_S = 120
_PROBE = (
    "import importlib.metadata as m, importlib.util as u, json\n"
    "found = {}\n"
    "for name, package in (('sglang', 'sglang'), ('flashinfer', 'flashinfer-python'),"
    " ('torch', 'torch')):\n"
    "    spec = u.find_spec(name)\n"
    "    try: found[name] = m.version(package) if spec else None\n"
    "    except m.PackageNotFoundError: found[name] = 'unknown'\n"
    "    if name == 'sglang' and spec: found['path'] = list(spec.submodule_search_locations)[0]\n"
    "print(json.dumps(found))"
)


@dataclass(frozen=True)
class Host:
    """SGLang's Python: the command that starts it, and what its environment has more."""

    python: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


def find_host(environment: str = "current", sglang_path: Path | None = None) -> Host:
    """The Python of `environment`; a checkout at `sglang_path` goes before what is installed.

    Raises UsageError for a form or path that is wrong, MissingDependencyError without conda.
    """
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(Path(part).resolve()) for part in given if part]  # programs run elsewhere
    if sglang_path is not None:
        roots = (p for p in (sglang_path / "python", sglang_path) if (p / "sglang").is_dir())
        if (root := next(roots, None)) is None:
            raise UsageError(
                "no sglang package in this folder", received=sglang_path,
                allowed="a checkout of SGLang",
            )  # fmt: skip
        paths.insert(0, str(root.resolve()))
    env = {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}
    return Host(_python(environment), env)


def _python(environment: str) -> tuple[str, ...]:
    kind, _, value = environment.partition(":")
    if kind == "current" and not value:
        return (sys.executable,)
    if kind == "conda" and value:
        conda = shutil.which("conda") or os.environ.get("CONDA_EXE")
        if conda is None:
            raise MissingDependencyError(
                "conda is not on the path", received=environment,
                next_step="activate the environment and use --env current",
            )  # fmt: skip
        return (conda, "run", "--no-capture-output", "-n", value, "python")
    python = Path(value) / "bin" / "python"
    if kind != "venv" or not python.is_file():
        raise UsageError(
            "not an environment", received=environment,
            allowed="current, conda:NAME, or venv:PATH of a virtual environment",
        )  # fmt: skip
    return (str(python),)


def probe(host: Host) -> dict[str, str | None]:
    """Versions of sglang, flashinfer and torch in it (None: absent), and sglang's `path`."""
    try:
        done = subprocess.run(
            [*host.python, "-c", _PROBE], env={**os.environ, **host.env},
            capture_output=True, text=True, timeout=PROBE_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingDependencyError("this Python cannot be run", received=error) from None
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise MissingDependencyError(
            "this Python cannot be asked for its packages",
            received=(done.stderr.strip().splitlines() or ["no output"])[-1],
        )
    return json.loads(lines[-1])


def require(versions: Mapping[str, str | None]) -> None:
    """Raises MissingDependencyError where SGLang or FlashInfer is absent."""
    absent = [name for name in ("sglang", "flashinfer", "torch") if versions.get(name) is None]
    if absent:
        raise MissingDependencyError(
            f"not installed in SGLang's Python: {', '.join(absent)}",
            next_step="python scripts/setup_env.py sglang, then --env venv:.venv-sglang; "
            "or name the environment that has them with --env",
        )
