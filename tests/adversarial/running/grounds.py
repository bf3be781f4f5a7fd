"""The folders of one run: what an entry may reach for, and whether it was touched."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from running.servers import Servers

MARK = re.compile(r"^MARK (\S+);", re.MULTILINE)
HERE = Path(__file__).resolve()
SCRIPTS = HERE.parents[3] / "scripts"


class Grounds:
    """dataset, output, temporary folder, marks, and places that are watched."""

    def __init__(self, folder: Path, *, hang_s: int, memory_mb: int, on_cuda: bool = False) -> None:
        self.folder, self.hang_s, self.memory_mb = folder, hang_s, memory_mb
        self.on_cuda = on_cuda
        self.dataset, self.output = folder / "dataset", folder / "output"
        self.temporary, self.marks = folder / "tmp", folder / "marks"
        self.places = folder / "places"
        for part in (self.dataset, self.output, self.temporary, self.marks, self.places):
            part.mkdir(parents=True)
        for name in ("home", "victim"):
            (self.places / name).mkdir()
            (self.places / name / "token").write_text(secrets.token_hex(16))
        # Open to all, so that it is the evaluator that keeps entries out.
        for part in (self.marks, self.places, self.places / "home", self.places / "victim"):
            part.chmod(0o777)
        self.servers = Servers(self.places)

    def constants(self) -> dict[str, str]:
        """What fills in @NAME@ in our corpus's sources."""
        return {
            "MARKS": str(self.marks), "PLACES": str(self.places), "DATASET": str(self.dataset),
            "SCRIPTS": str(SCRIPTS), "HANG_S": str(self.hang_s), "MEMORY_MB": str(self.memory_mb),
            "SERVERS": self.servers.addresses(),
        }  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The evaluator's environment: with a secret, and the variables of other corpora."""
        return {
            **os.environ,
            "HOME": str(self.places / "home"),
            "TMPDIR": str(self.temporary),
            "CORPUS_SECRET": secrets.token_hex(16),
            "EXPLOIT_CORPUS_MARKS": str(self.marks),
            "EXPLOIT_CORPUS_HANG_S": str(self.hang_s),
            "EXPLOIT_CORPUS_MEM_MB": str(self.memory_mb),
            "TRITON_INTERPRET": "0" if self.on_cuda else "1",
            "OMP_NUM_THREADS": "1",  # threads that wait for each other make times erratic
        }

    def watch(self) -> None:
        """Remember how everything is that must stay so."""
        self.before = self._state()

    def changes(self) -> list[str]:
        """What is no longer as it was, and what is left in the temporary folder."""
        after = self._state()
        paths = sorted(
            path for path in {*self.before, *after} if self.before.get(path) != after.get(path)
        )
        left = [f"left in the temporary folder: {path.name}" for path in self._left()]
        return [*(f"changed: {path.relative_to(self.folder)}" for path in paths), *left]

    def found_marks(self) -> set[str]:
        """Marks in the folder, and servers that somebody spoke to."""
        files = {path.stem for path in self.marks.iterdir()}
        return files | {f"reached_{kind}" for kind in self.servers.reached}

    def clear_marks(self) -> None:
        """Forget the marks so far."""
        for path in self.marks.iterdir():
            path.unlink()
        self.servers.reached.clear()

    def _state(self) -> dict[Path, str]:
        roots = (self.dataset, self.places / "victim")
        paths = [path for root in roots for path in root.rglob("*")]
        paths.append(self.places / "home" / "token")
        return {path: _print_of(path) for path in paths}

    def _left(self) -> list[Path]:
        """Caches of torch and Triton may stay; folders of entries may not."""
        return [path for path in self.temporary.iterdir() if path.name.startswith("kernelkit-")]


def printed_marks(logs: list[str]) -> set[str]:
    """Marks in what entries have printed."""
    return {found.group(1) for text in logs for found in MARK.finditer(text)}


def _print_of(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    if not path.is_file():
        return "folder" if path.is_dir() else "special"
    return hashlib.sha256(path.read_bytes()).hexdigest()
