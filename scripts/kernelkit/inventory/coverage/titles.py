"""Which heading of the coverage document stands for which model.

Headings are written by hand: `Llama 3.1 / 3.3 70B` stands for two models, `Mistral Nemo 12B` for
Mistral-Nemo-Instruct-2407. A heading and a model agree where their words do, fine-tuning and
release words left out; a size in the heading only (12B) is accepted where nothing else fits.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

# Words that change no shape: a model of the same sizes with and without them is one entry.
_IGNORED = {
    "instruct", "it", "chat", "base", "hf", "thinking", "exp", "preview", "fp8", "fp4", "nvfp4",
    "bf16", "int4", "awq", "gptq",
}  # fmt: skip
_RELEASE = re.compile(r"^\d{4}$")  # -2407, -0528
_SIZE = re.compile(r"^(?:\d+x)?\d+(?:\.\d+)?[bt]$")


def words(name: str) -> list[str]:
    """The words of a model's name that tell its shapes: `Qwen3-30B-A3B` -> qwen3, 30b, a3b."""
    last = name.rstrip("/").rpartition("/")[2] if "/" in name and " " not in name else name
    parts = re.split(r"[^a-z0-9.]+", last.lower())
    return [p for p in parts if p and p not in _IGNORED and not _RELEASE.match(p)]


def key(parts: Iterable[str]) -> str:
    """Words as one key: `Nemotron H 47B` and `NemotronH 47B` agree."""
    return "".join(re.sub(r"[^a-z0-9]", "", part) for part in parts)


def alternatives(heading: str) -> list[str]:
    """The models that a heading names: `DeepSeek V3 / R1` -> `DeepSeek V3`, `DeepSeek R1`.

    What stands after a slash replaces the word before it and keeps the rest of the heading.
    """
    text = re.sub(r"\s*/\s*", "/", heading.strip())
    choices = [word.split("/") for word in text.split()]
    return [" ".join(chosen) for chosen in itertools.product(*choices)]


def keys_of(heading: str) -> set[str]:
    """The keys of every model that a heading names."""
    return {key(words(name)) for name in alternatives(heading)}


@dataclass(frozen=True)
class Titles:
    """The names of a document or a dataset, to be asked for a model."""

    names: tuple[str, ...]

    def find(self, model: str) -> str | None:
        """The name that stands for a model (a repository id or a slug), or None.

        An exact key goes before one that only lacks, or only adds, a size word.
        """
        wanted = words(model)
        for name in self.names:
            if key(wanted) in keys_of(name):
                return name
        loose = key(_unsized(wanted))
        close = [n for n in self.names for a in alternatives(n) if key(_unsized(words(a))) == loose]
        fits = [n for n in dict.fromkeys(close) if _one_sized(wanted, n)]
        return fits[0] if len(fits) == 1 else None

    def has(self, model: str) -> bool:
        """Whether any name stands for the model."""
        return self.find(model) is not None


def _unsized(parts: Iterable[str]) -> list[str]:
    return [part for part in parts if not _SIZE.match(part)]


def _one_sized(wanted: list[str], name: str) -> bool:
    """Only one of the two names a size: two different sizes are two models."""
    sizes = {part for part in wanted if _SIZE.match(part)}
    return any(
        not sizes or not {part for part in words(a) if _SIZE.match(part)}
        for a in alternatives(name)
    )


def title(model: str) -> str:
    """A heading for a model that has none yet: `Qwen/Qwen3-30B-A3B` -> `Qwen3 30B A3B`."""
    last = model.rstrip("/").rpartition("/")[2]
    parts = [p for p in re.split(r"[-_ ]+", last) if p]
    kept = [p for p in parts if p.lower() not in _IGNORED and not _RELEASE.match(p)]
    return " ".join(kept or parts)
