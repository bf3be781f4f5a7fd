"""Which repositories there are, where they come from, and what a mirror is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernelkit.errors import UsageError


@dataclass(frozen=True)
class Source:
    """A repository: its folder's name, its URL, and how it is installed."""

    name: str
    url: str
    what: str
    package: str | None = None  # the folder with its pyproject.toml
    install_needs_submodules: bool = False


SOURCES = {
    source.name: source
    for source in (
        Source(
            "sglang",
            "https://github.com/sgl-project/sglang.git",
            "model files: which kernels a model calls",
            package="python",
        ),
        Source(
            "flashinfer",
            "https://github.com/flashinfer-ai/flashinfer.git",
            "kernels, trace templates and their tests",
            package=".",
            install_needs_submodules=True,
        ),
        Source(
            "sgl-cookbook",
            "https://github.com/sgl-project/sgl-cookbook.git",
            "serving configurations (TP, EP) of models",
        ),
        Source(
            "flashinfer-trace",
            "https://huggingface.co/datasets/flashinfer-ai/flashinfer-trace",
            "the published dataset; recorded tensors are Git-LFS objects",
        ),
    )
}


def select(names: Sequence[str] | None) -> list[Source]:
    """The sources of these names, all without names. Raises UsageError for an unknown one."""
    wanted = list(dict.fromkeys(names or SOURCES))
    for name in wanted:
        _known(name, "--repos")
    return [SOURCES[name] for name in wanted]


def mirrors(texts: Sequence[str]) -> dict[str, str]:
    """`NAME=URL` or `NAME=PATH` as addresses by name; a path is made absolute.

    Raises UsageError for an unknown or repeated name and for an empty address. Whether a
    repository is there is found out when it is fetched: one bad mirror must not stop the others.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, separator, address = text.partition("=")
        _known(name, "--mirror")
        if not separator or not address:
            raise UsageError("a mirror has no address", received=text, allowed="NAME=URL|PATH")
        if name in found:
            raise UsageError("two mirrors for one repository", received=name)
        found[name] = str(Path(address).expanduser().resolve()) if is_local(address) else address
    return found


def is_local(address: str) -> bool:
    """Whether git reads `address` as a path (not as a URL, nor as `host:path`)."""
    return not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|[^/\\]+:", address)


def _known(name: str, option: str) -> None:
    if name not in SOURCES:
        raise UsageError(
            f"{option} names no known repository", received=name, allowed=", ".join(SOURCES)
        )
