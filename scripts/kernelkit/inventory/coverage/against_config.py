"""Where a section contradicts the configs of its models: names, labels, layers, architecture."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from kernelkit.inventory.coverage import expected
from kernelkit.inventory.coverage.checks import Finding
from kernelkit.inventory.coverage.expected import Derivable, Row
from kernelkit.inventory.coverage.lines import Document, Section
from kernelkit.inventory.coverage.reading import Entry, blocks_of, summary_rows
from kernelkit.inventory.coverage.titles import keys_of
from kernelkit.models.spec import ModelSpec

LAYERS = re.compile(r"(\d+)(?= (?:decoder |transformer )?layers\b)")
_KIND = re.compile(r"(?<![\w:.])(\d+) (MLA|DSA|GDN|GQA|Mamba2?|dense|MoE)\b", re.IGNORECASE)
_WORDS = re.compile(r"\b(MLA|DSA|GDN|GQA|MHA|MQA|Mamba2?|Dense|MoE)\b", re.IGNORECASE)


def check_config(
    document: Document, section: Section, rows: Sequence[Row], derivable: Derivable
) -> Iterator[Finding]:
    """One section against the model's config: names, labels, layer counts, architecture."""
    model = section.title
    entries = [e for block in blocks_of(document, section) for e in block.entries]
    for entry in entries:
        if entry.name and not re.search(r"[?{}]", entry.name):
            yield from _follows(entry, model, derivable)
    listed = {entry.name for entry in entries}
    for row in rows:
        if row.name and row.name not in listed:
            text = f"{row.name} follows from the config and is not listed"
            yield Finding(section.start + 1, "unlisted", model, text)
    yield from _prose(document, section, derivable.specs)
    yield from _architecture(document, section, derivable.specs)


def _follows(entry: Entry, model: str, derivable: Derivable) -> Iterator[Finding]:
    name, at = str(entry.name), entry.line + 1
    if name in derivable.names:
        yield from _label(entry, model, derivable.names[name])
        return
    if name in derivable.sharded:
        sizes = "/".join(dict.fromkeys(tag[3:] for tag in derivable.sharded[name]))
        text = f"{name} is one rank's share at TP={sizes}; the dataset has the unsharded GEMM"
    elif name in derivable.unquantized:
        kinds = {s.quantization.kind for s in derivable.specs if s.quantization}
        text = f"{name} is a 16-bit GEMM, and the config's linear layers are {'/'.join(kinds)}"
    else:
        text = f"{name} does not follow from the config at any TP, EP or page size"
        if near := nearest(name, derivable.names):
            text += f"; the nearest that does: {near}"
    yield Finding(at, "sizes", model, text)


def nearest(name: str, known: Sequence[str] | dict[str, Any]) -> str | None:
    """The name of the same form that shares the most: numbers count as whole words."""
    stem = re.sub(r"\d+", "#", name)
    same = [other for other in known if re.sub(r"\d+", "#", other) == stem]
    return max(same, key=lambda other: _shared(name, other), default=None)


def _shared(one: str, other: str) -> tuple[int, float]:
    pairs = zip(re.findall(r"\d+", one), re.findall(r"\d+", other), strict=True)
    return sum(a == b for a, b in pairs), difflib.SequenceMatcher(None, one, other).ratio()


def _label(entry: Entry, model: str, tags: Sequence[str]) -> Iterator[Finding]:
    """TP or EP in the op type cell must be one of those that give the name."""
    for key, sizes in entry.label.items():
        right = {tag[3:] for tag in tags if tag.startswith(f"{key}:")}
        if right and not sizes <= right:
            text = f"{entry.name} follows at {key.upper()}={'/'.join(sorted(right, key=int))}"
            said = f"{key.upper()}={'/'.join(sorted(sizes, key=int))}"
            yield Finding(entry.line + 1, "label", model, f"{text}, the row says {said}")


def _prose(document: Document, section: Section, specs: Sequence[ModelSpec]) -> Iterator[Finding]:
    """The counts of layers in the architecture line: of all, and of each kind that it counts."""
    for number in range(section.start, section.stop):
        text = document.content(number)
        if text.startswith("**Architecture**"):
            for said, what, counts in _claims(text, specs):
                if said not in counts:
                    message = f"the text says {said} {what}, the config {counts[0]}"
                    yield Finding(number + 1, "layers", section.title, message)


def _claims(text: str, specs: Sequence[ModelSpec]) -> Iterator[tuple[int, str, list[int]]]:
    """(count in the text, of what, the configs' counts)."""
    if match := LAYERS.search(text):
        yield int(match.group()), "layers", [spec.num_layers for spec in specs]
    for match in _KIND.finditer(text):
        word = _plain(match.group(2))
        yield int(match.group(1)), match.group(2), [_of_kind(spec, word) for spec in specs]


def _of_kind(spec: ModelSpec, word: str) -> int:
    """How many layers have the part that the word names."""
    mixers = {"gqa": {"attention", "sliding_attention"}, "mamba2": {"mamba"}, "dsa": {"mla"}}
    wanted = mixers.get(word, {word})
    if word in ("dense", "moe"):
        return sum(layer.mlp == word for layer in spec.layers)
    return sum(bool(wanted & set(layer.mixer.split("+"))) for layer in spec.layers)


def _architecture(
    document: Document, section: Section, specs: Sequence[ModelSpec]
) -> Iterator[Finding]:
    for row in summary_rows(document):
        same = keys_of(row.model) & keys_of(section.title)
        if same and not any(agrees(row.architecture, spec) for spec in specs):
            want = " + ".join(expected.components(specs[0]))
            text = f"the summary says {row.architecture!r}, the config {want!r}"
            yield Finding(row.line + 1, "architecture", section.title, text)


def agrees(cell: str, spec: ModelSpec) -> bool:
    """Whether the known words of an architecture cell are those of the config, in any order."""
    said = {_plain(word) for word in _WORDS.findall(cell)}
    return said == {_plain(w) for w in _WORDS.findall("+".join(expected.components(spec)))}


def _plain(word: str) -> str:
    return {"mamba": "mamba2", "mha": "gqa", "mqa": "gqa"}.get(word.lower(), word.lower())
