"""Things that are there and do not go together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from kernelkit.machine.facts import BROKEN, OK, Fact

_DISK_GB = 10.0  # below this, checkouts, compiled kernels and torch do not fit
_CORES_GB = 8.0


def conflicts(facts: Mapping[str, Fact]) -> list[str]:
    """One sentence for each contradiction, with what to do."""
    return [text for rule in (_gpu, _toolkit, _broken, _room, _switches) for text in rule(facts)]


def _gpu(facts: Mapping[str, Fact]) -> Iterator[str]:
    if _ok(facts, "gpu") and _ok(facts, "torch") and not _ok(facts, "torch_gpu"):
        yield f"the driver shows a GPU that torch cannot use: {facts['torch_gpu'].detail}"
    if _ok(facts, "torch_gpu") and not _ok(facts, "gpu"):
        yield "torch uses a GPU that nvidia-smi does not show: its figures will lack the driver"
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        yield "CUDA_VISIBLE_DEVICES is empty, which hides every GPU: unset it"


def _toolkit(facts: Mapping[str, Fact]) -> Iterator[str]:
    """FlashInfer and CUDA solutions compile with nvcc what torch's CUDA then runs."""
    if not (_ok(facts, "nvcc") and _ok(facts, "torch_gpu")):
        return
    ours, theirs = _major(facts["nvcc"].version), _major(facts["torch_gpu"].version)
    if ours != theirs:
        yield (
            f"nvcc is of CUDA {facts['nvcc'].version}, torch of {facts['torch_gpu'].version}: "
            "kernels compiled here may not load; install the toolkit of torch's version"
        )


def _broken(facts: Mapping[str, Fact]) -> Iterator[str]:
    for fact in facts.values():
        if fact.state == BROKEN:
            yield f"{fact.name} is there and does not work: {fact.detail}"


def _room(facts: Mapping[str, Fact]) -> Iterator[str]:
    for name, least, what in (
        ("disk", _DISK_GB, "checkouts and compiled kernels may not fit"),
        ("memory", _CORES_GB, "references of large definitions may not fit"),
    ):
        number = re.match(r"[\d.]+", facts[name].version) if name in facts else None
        if number and float(number.group()) < least:
            yield f"{name}: {facts[name].version}, below {least:g} GB: {what}"


def _switches(facts: Mapping[str, Fact]) -> Iterator[str]:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        yield "HF_HUB_OFFLINE is set: nothing comes from the hub but what its cache holds"
    if os.environ.get("GIT_LFS_SKIP_SMUDGE", "") == "1":
        yield "GIT_LFS_SKIP_SMUDGE is set: your own git clones leave Git-LFS pointers"


def _ok(facts: Mapping[str, Fact], name: str) -> bool:
    return name in facts and facts[name].state == OK


def _major(version: str) -> str:
    match = re.search(r"\d+", version)
    return match.group() if match else ""
