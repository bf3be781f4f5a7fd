"""Run git: never asking, its messages in English, its progress read, its failures sorted.

A failure that may pass (no route, a reset connection, a busy server) is tried again; one that will
not (no such repository, no permission) is raised at once.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from kernelkit.errors import KernelkitError, MissingDependencyError

# Set by git for its hooks: inside one they would lead every command to another repository.
_OF_A_HOOK = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
)  # fmt: skip
_SETTINGS = (
    "advice.detachedHead=false",
    "gc.auto=0",  # a collection in the background would outlive the run and hold its lock
    "maintenance.auto=false",
    "http.lowSpeedLimit=1000",  # bytes/s below which, for so many seconds, a transfer is dead
    "http.lowSpeedTime=60",
)
_PASSING = re.compile(
    r"could not resolve|couldn't resolve|timed out|timeout|connection (was )?(refused|reset|closed)"
    r"|failed to connect|couldn't connect|no route to host|network is unreachable"
    r"|early eof|unexpected disconnect|remote end hung up|rpc failed|http/2 stream|transfer closed"
    r"|recv failure|send failure|empty reply|tls|ssl_|returned error: (408|425|429|5\d\d)"
    r"|operation too slow|temporary failure|bad gateway|service unavailable",
    re.IGNORECASE,
)
_LASTING = re.compile(
    r"returned error: 4(0[134]|10)|repository .*not found|does not exist|permission denied"
    r"|authentication failed|could not read username|does not appear to be a git repository"
    r"|certificate",
    re.IGNORECASE,
)
_PROGRESS = re.compile(r"^(?:remote: )?([A-Z][\w ]+?):\s+(\d+)% \((\d+)/(\d+)\)(?:, (.*?))?\s*$")
_ASK_NO_ONE = {
    "GIT_TERMINAL_PROMPT": "0",
    "GCM_INTERACTIVE": "never",
    "SSH_ASKPASS_REQUIRE": "never",
    "LC_ALL": "C",
    "GIT_LFS_SKIP_SMUDGE": "1",  # a checkout leaves pointers; `git lfs pull` fetches in parallel
}
Progress = Callable[[str, int, int, str], None]  # stage, done, total, speed


class GitError(KernelkitError):
    """A git command failed. `passing` says that the same command may work a little later."""

    def __init__(self, words: Sequence[str], code: int, said: str) -> None:
        self.code = code
        # A git that was ended by a signal was ended by someone: it is not run again.
        self.passing = code > 0 and bool(_PASSING.search(said)) and not _LASTING.search(said)
        shown = next((word for word in words if not word.startswith("-")), "")
        super().__init__(f"git {shown} failed", received=_short(said) or f"exit code {code}")


class StoppedError(KernelkitError):
    """The run was interrupted: no further command starts."""


def _short(said: str) -> str:
    """The lines that say why: fatal and error first, else the last ones."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", said) if line.strip()]
    lines = [line for line in lines if not _PROGRESS.match(line)]
    telling = [line for line in lines if re.match(r"(fatal|error|ERROR|remote: error|! \[)", line)]
    return " / ".join(dict.fromkeys((telling or lines)[-3:]))[:600]


class Git:
    """The git program with this run's environment. Threads may share it."""

    def __init__(self, *, inherited: Iterable[int] = ()) -> None:
        self.program = shutil.which("git")
        if self.program is None:
            raise MissingDependencyError(
                "git is not installed", next_step="apt install git (or brew install git)"
            )
        self._inherited = tuple(inherited)
        self._environment = _environment()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def __call__(
        self,
        *words: str,
        at: Path | None = None,
        ok: Sequence[int] = (0,),
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        given: bytes | None = None,
    ) -> str:
        """The standard output of `git words`. Raises GitError for an exit code not in `ok`."""
        process = self._start(words, at, settings, environment, subprocess.PIPE, given is not None)
        with self._watched(process):
            out, said = process.communicate(given)
        if process.returncode not in ok:
            raise GitError(words, process.returncode, said.decode("utf-8", "replace"))
        return out.decode("utf-8", "surrogateescape")

    def true(self, *words: str, at: Path | None = None) -> bool:
        """Whether `git words` ends with 0 and not with 1. Raises GitError for other codes."""
        process = self._start(words, at, (), None, subprocess.PIPE, False)
        with self._watched(process):
            _, said = process.communicate()
        if process.returncode not in (0, 1):
            raise GitError(words, process.returncode, said.decode("utf-8", "replace"))
        return process.returncode == 0

    def long(self, *words: str, at: Path, progress: Progress, settings: Sequence[str] = ()) -> None:
        """Run a command that takes a while, handing its progress on. Raises GitError."""
        process = self._start(words, at, settings, None, subprocess.DEVNULL, False)
        with self._watched(process):
            assert process.stderr is not None
            said = _read_progress(process.stderr, progress)
            process.wait()
        if process.returncode:
            raise GitError(words, process.returncode, said)

    def stop(self) -> None:
        """End what runs, and start nothing more."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                _end(process)

    def _start(
        self,
        words: Sequence[str],
        at: Path | None,
        settings: Sequence[str],
        environment: Mapping[str, str] | None,
        out: int,
        fed: bool,
    ) -> subprocess.Popen[bytes]:
        options = [word for value in (*_SETTINGS, *settings) for word in ("-c", value)]
        with self._guard:
            if self._stopped:
                raise StoppedError("interrupted")
            process = subprocess.Popen(
                [str(self.program), *options, *words],
                cwd=at,
                env={**self._environment, **(environment or {})},
                stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                pass_fds=self._inherited,
                start_new_session=True,  # its helpers (ssh, git-remote-https) end with it
            )
            self._running.add(process)
        return process

    def _watched(self, process: subprocess.Popen[bytes]) -> _Watched:
        return _Watched(process, self._running, self._guard)


class _Watched:
    """Holds a process in the set of running ones, and ends it if the wait is broken off."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        running: set[subprocess.Popen[bytes]],
        guard: threading.Lock,
    ) -> None:
        self._process, self._running, self._guard = process, running, guard

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            _end(self._process)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None and not stream.closed:
                stream.close()
        with self._guard:
            self._running.discard(self._process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask git and its helpers to end: they remove their lock and temporary files."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)


def _environment() -> dict[str, str]:
    """The caller's environment without a hook's settings, asking no one, LFS objects left out."""
    kept = {key: value for key, value in os.environ.items() if key not in _OF_A_HOOK}
    kept.update(_ASK_NO_ONE)
    kept.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20")
    return kept


def _read_progress(stream: IO[bytes], progress: Progress) -> str:
    """All that git said; each line of progress goes to `progress` at once."""
    said: list[str] = []
    rest = b""
    while chunk := os.read(stream.fileno(), 65536):
        *lines, rest = re.split(rb"[\r\n]", rest + chunk)
        for line in lines:
            text = line.decode("utf-8", "replace")
            if match := _PROGRESS.match(text):
                stage, _, done, total, speed = match.groups()
                progress(stage, int(done), int(total), speed or "")
            elif text.strip():
                said.append(text)
    return "\n".join([*said, rest.decode("utf-8", "replace")])


def patiently(
    action: Callable[[], None],
    *,
    retries: int,
    wait_s: float,
    say: Callable[[str], None],
) -> None:
    """Run `action`, again after a passing failure: `retries` times, each wait twice as long."""
    for attempt in range(retries + 1):
        try:
            return action()
        except GitError as error:
            if not error.passing or attempt == retries:
                raise
            pause = wait_s * 2**attempt
            say(f"{error.received}; trying again in {pause:g} s ({attempt + 1} of {retries})")
            time.sleep(pause)
