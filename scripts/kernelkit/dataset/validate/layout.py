"""Files in the dataset's folders that no reader looks at."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from kernelkit.dataset.atomic import TEMPORARY_SUFFIX
from kernelkit.dataset.store import Dataset

# The files of each folder. What a killed write left behind is no fault of the dataset.
SUFFIXES = {"definitions": ".json", "solutions": ".json", "workloads": ".jsonl", "traces": ".jsonl"}
TEXT = (".md", ".txt")  # notes for people


def unread_files(dataset: Dataset, blobs: Collection[Path]) -> Iterator[Path]:
    """Misplaced files, and recorded tensors that are not among `blobs` (the workloads' ones)."""
    for folder, suffix in SUFFIXES.items():
        for path in dataset.files(folder, ""):
            if path.suffix not in (suffix, TEMPORARY_SUFFIX, *TEXT) and path.name[0] != ".":
                yield path
    for path in dataset.files("blob", ".safetensors"):
        if path not in blobs:
            yield path
