"""The texts that this package writes into the document: a new one, a section, a count line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from kernelkit.inventory.coverage import expected
from kernelkit.inventory.coverage.expected import Row
from kernelkit.inventory.coverage.lines import Document, Section, row_of
from kernelkit.models.spec import ModelSpec

_OURS = re.compile(r"^(Missing|Fully covered)\b")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*(])")
_FEW = 4  # missing definitions that are named one by one

NEW_DOCUMENT = """---
title: Model Coverage
---

# Model Kernel Coverage

Which kernels of each model have a definition, and workloads.

- ✅ The definition exists and workloads have been collected
- 🟡 The definition exists, without workloads
- ❌ The model needs the definition and its file does not exist
- — A part of the model that no definition stands for

## Summary

| Model | Architecture | Coverage |
|-------|-------------|:--------:|

---
"""


def append_section(
    document: Document, title: str, spec: ModelSpec, rows: Sequence[Row], serving: str
) -> None:
    """A model's section at the end, parted from what is there by a rule."""
    last = next((line.strip() for line in reversed(document.lines) if line.strip()), "")
    rule = [] if last == "---" else ["", "---"]
    served = f" Standard serving configuration: **{serving}**." if serving else ""
    document.insert(
        len(document.lines),
        *rule, "", f"## {title}", "", f"**Architecture**: {sentence(spec)}.{served}", "",
        *table(rows), "", fresh_count(rows), "", "---",
    )  # fmt: skip


def add_table(document: Document, section: Section, rows: Sequence[Row]) -> None:
    """The table of a section that had none, before the rule that ends the section."""
    end = section.stop
    while end > section.start + 1 and document.content(end - 1).strip() in ("", "---"):
        end -= 1
    document.insert(end, "", *table(rows), "", fresh_count(rows))


def table(rows: Sequence[Row]) -> list[str]:
    """The table of a model."""
    head = ["| Definition | Op Type | Status |", "|-----------|---------|:------:|"]
    return head + [row_of(row.label, row.op_cell, row.mark) for row in rows]


def fresh_count(rows: Sequence[Row]) -> str:
    """The coverage line of a table."""
    present, total = expected.tally([row.mark for row in rows])
    absent = [(row.name, row.op_type) for row in rows if row.mark == expected.MISSING]
    text = f"**Coverage**: {present} / {total} definitions present. {missing(absent, total)}"
    return text.rstrip()


def missing(absent: Sequence[tuple[str | None, str]], total: int) -> str:
    """One sentence from (name, op type): a few names, else how many of each op type.

    Empty for a table that references no definition.
    """
    names = [name for name, _ in absent if name]
    if not absent:
        return "Fully covered." if total else ""
    if len(absent) <= _FEW and len(names) == len(absent):
        return f"Missing: {', '.join(f'`{name}`' for name in names)}."
    kinds = Counter(op_type for _, op_type in absent)
    return f"Missing: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}."


def other_sentences(text: str) -> list[str]:
    """What follows the counts, in sentences, without those on what is missing.

    The first stays joined to the counts, with its blank: ` definitions present.`
    """
    first, *rest = _SENTENCE.split(text)
    return [first, *(sentence for sentence in rest if not _OURS.match(sentence))]


def sentence(spec: ModelSpec) -> str:
    """The architecture in words: `48 decoder layers, GQA attention (32 q-heads / ...), ...`."""
    return ", ".join([f"{spec.num_layers} decoder layers", *_mixers(spec), *_mlps(spec)])


def _mixers(spec: ModelSpec) -> list[str]:
    found = []
    layers = [set(layer.mixer.split("+")) for layer in spec.layers]
    several = len({layer.mixer.replace("sliding_", "") for layer in spec.layers}) > 1

    def counted(text: str, *kinds: str) -> str:
        count = sum(bool(layer & set(kinds)) for layer in layers)
        return f"{count} {text}" if several else text

    if spec.gdn is not None and spec.has_mixer("gdn"):
        found.append(counted("GDN linear attention", "gdn"))
    if spec.mla is not None and spec.has_mixer("mla"):
        found.append(f"{'DSA' if spec.dsa else 'MLA'} attention ({spec.mla.num_heads} heads)")
    if spec.attention is not None and spec.has_mixer("attention", "sliding_attention"):
        a = spec.attention
        heads = f"{a.num_qo_heads} q-heads / {a.num_kv_heads} kv-heads, head_dim={a.head_dim}"
        found.append(counted(f"GQA attention ({heads})", "attention", "sliding_attention"))
    if spec.mamba is not None and spec.has_mixer("mamba"):
        found.append(counted(f"Mamba2 ({spec.mamba.num_heads} heads)", "mamba"))
    return found


def _mlps(spec: ModelSpec) -> list[str]:
    found = []
    both = spec.has_mlp("dense") and spec.has_mlp("moe")
    if spec.has_mlp("dense"):
        count = sum(layer.mlp == "dense" for layer in spec.layers)
        found.append(f"{count} dense MLP layers" if both else "dense MLP")
    if spec.moe is not None and spec.has_mlp("moe"):
        count = sum(layer.mlp == "moe" for layer in spec.layers)
        text = f"MoE FFN ({spec.moe.num_experts} experts, top-{spec.moe.top_k})"
        found.append(f"{count} layers of {text}" if both else text)
    return found
