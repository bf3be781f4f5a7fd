"""Documents that are served lie on disk: little memory, readers at once, a full disk is told."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.errors import KernelkitError
from kernelkit.ops import gemm
from kernelkit.report import server, spool
from kernelkit.report.summary import Selection


def test_what_is_read_is_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "PIECE_BYTES", 3)
    held = spool.Spool(["añ", "", "€uro"])
    data = "añ€uro".encode()
    assert held.size == len(data)
    assert held.tag == hashlib.sha256(data).hexdigest()[:32]
    first, second = held.pieces(), held.pieces()  # two readers, in turns
    turns = [(next(first), next(second)) for _ in range(3)]
    assert [a for a, _ in turns] == [b for _, b in turns] == [data[:3], data[3:6], data[6:9]]
    assert list(spool.Spool([]).pieces()) == []


def test_a_large_document_takes_little_memory() -> None:
    size = 64 * spool.PIECE_BYTES
    tracemalloc.start()
    held = spool.Spool("x" * 1024 for _ in range(size // 1024))
    assert sum(len(piece) for piece in held.pieces()) == held.size == size
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * spool.PIECE_BYTES


def test_a_full_disk_is_told_and_tried_again(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.write_definition(gemm.FAMILY.definition(64, 64))
    reports = server.Reports(dataset.root, Selection(), "a command")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with monkeypatch.context() as context:
        context.setattr(
            spool.tempfile, "TemporaryFile", lambda buffering: full.open("w+b", buffering=0)
        )
        with pytest.raises(KernelkitError, match="temporary file.*No space left"):
            reports.get("/")
    assert b"<!doctype html>" in b"".join(reports.get("/").pieces())
