"""What runs on a node of a Ray cluster. It travels as it is: nothing of the pack is imported.

The pack's code comes along as a zip file, recorded tensors by their hash, each fetched once for a
node and kept in its temporary folder. The evaluation itself is a deputy's: see `spread.deputy`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Fetch = Callable[[str], "bytes | None"]  # a content by its sha256; None: it did not come along
PART_BYTES = 1 << 20
YOUNG_SECONDS = 60.0  # of a task's folder, which may not be locked yet


def task(order: dict[str, Any], sent: dict[str, list[Any]]) -> Iterator[str]:
    """A Ray task. What was sent is fetched only where it is not kept yet."""
    import ray

    place = ray.get_runtime_context().get_node_id()
    yield from work(order, place, lambda sha: ray.get(sent[sha][0]) if sha in sent else None)


def work(order: dict[str, Any], place: str, fetch: Fetch) -> Iterator[str]:
    """Evaluate an order's plan; lines of JSON as they come: {"at"} first, then a deputy's.

    {"absent": hashes} instead, where recorded tensors are neither here nor have come along.
    """
    yield json.dumps({"at": place, "host": socket.gethostname()})
    kept = cache()
    absent, root = dataset(order["root"], order["blobs"], kept, fetch)
    if absent:
        yield json.dumps({"absent": absent})
        return
    code = folder(kept / f"code-{order['code']}", lambda path: _unzip(path, fetch(order["code"])))
    first = {**order["first"], "dataset": str(root)}
    with room(kept) as temporary:
        yield from _evaluate(code, temporary, [first, order["plan"]])


def cache() -> Path:
    """The node's folder for what has come. It is this user's alone to write, for all to read."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    path = Path(tempfile.gettempdir()) / f"kernelkit-node-{user}"
    path.mkdir(mode=0o755, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != user:
        raise PermissionError(f"{path} is another user's")
    path.chmod(0o755)
    return path


def dataset(root: str, blobs: dict[str, str], kept: Path, fetch: Fetch) -> tuple[list[str], Path]:
    """The folder with the blobs (path in the dataset -> sha256): the dataset's own, where this
    node has it with the same contents, else one that is made of what was sent. Hashes of what is
    missing come first."""
    if all(sha256(Path(root) / path) == sha for path, sha in blobs.items()):
        return [], Path(root)
    files: dict[str, Path] = {}
    for sha in set(blobs.values()):
        path = kept / "blobs" / sha
        if not path.is_file():
            if (content := fetch(sha)) is None:
                continue
            _write(path, content)
        files[sha] = path
    if absent := sorted(set(blobs.values()) - files.keys()):
        return absent, kept
    name = hashlib.sha256(json.dumps(blobs, sort_keys=True).encode()).hexdigest()

    def link(made: Path) -> None:
        for path, sha in blobs.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            os.link(files[sha], made / path)

    return [], folder(kept / f"data-{name}", link)


def sha256(path: Path) -> str | None:
    """A file's hash; None where there is none."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while part := file.read(PART_BYTES):
                digest.update(part)
    except OSError:
        return None
    return digest.hexdigest()


def folder(path: Path, fill: Callable[[Path], None]) -> Path:
    """A folder, made whole or not at all; whoever comes second takes the first one's."""
    if path.is_dir():
        return path
    made = Path(tempfile.mkdtemp(dir=path.parent))
    try:
        fill(made)
        made.chmod(0o755)
        with contextlib.suppress(OSError):
            made.rename(path)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return path


@contextlib.contextmanager
def room(kept: Path) -> Iterator[Path]:
    """A temporary folder for a task. Those of tasks that were killed are removed: nobody holds
    their locks."""
    for path in kept.glob("room-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > YOUNG_SECONDS:
                os.close(_lock(path))
                shutil.rmtree(path, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix="room-", dir=kept))
    held = _lock(made)
    made.chmod(0o711)  # a solution's own user must reach its folder below
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(held)


def _lock(path: Path) -> int:
    """A descriptor with the lock on a folder. Raises OSError where another process has it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(name, path)


def _unzip(path: Path, content: bytes | None) -> None:
    with zipfile.ZipFile(io.BytesIO(content or b"")) as packed:
        packed.extractall(path)


def _evaluate(code: Path, temporary: Path, lines: list[dict[str, Any]]) -> Iterator[str]:
    """Give lines to a deputy; its answers, up to {"end"} or what it raised."""
    python_path = os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kernelkit.bench.spread.deputy"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": python_path, "TMPDIR": str(temporary)},
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        try:
            with contextlib.suppress(OSError):  # it is gone: its last words say why
                process.stdin.writelines(json.dumps(line) + "\n" for line in lines)
                process.stdin.flush()
            for line in process.stdout:
                yield line
                if "end" in json.loads(line):
                    return
            yield json.dumps({"raised": f"its process ended: {_last_words(log)}", "code": 1})
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()  # that ends it
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
            process.stdout.close()


def _last_words(log: Any) -> str:
    log.seek(0)
    said = log.read().decode("utf-8", "replace").strip().splitlines()
    return said[-1][:500] if said else "without a word"
