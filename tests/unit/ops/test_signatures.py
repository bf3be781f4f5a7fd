"""Published definitions, rebuilt from their constants, have the published interface.

Where the published form is wrong ours differs on purpose: the table in the playbook's
reference/differences.md is read here, and each of its rows must still differ.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kernelkit.dataset.definition import Definition
from kernelkit.ops import OP_TYPES, family

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / ".claude/skills/extract-kernel-definitions/reference/differences.md"


def intended() -> set[str]:
    """Names in the table of intended differences (its first column, in code spans)."""
    section = TABLE.read_text().split("## Interfaces")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def published(extra: Path) -> dict[str, Definition]:
    """The published interfaces; their references are not part of the data."""
    found = {}
    for path in sorted((extra / "data" / "definition_signatures").rglob("*.json")):
        document = json.loads(path.read_text()) | {"reference": "def run():\n    pass\n"}
        found[path.stem] = Definition.model_validate(document)
    return found


def rebuild(old: Definition) -> Definition:
    """Ours, from the constants of the published one."""
    c: dict[str, Any] = dict(old.const_axes)
    op: Any = family(old.op_type)
    prefill = "prefill" in old.name
    match old.op_type:
        case "rmsnorm":
            return op.definition(c["hidden_size"], 1e-6, fused="fused" in old.name)
        case "gemm":
            return op.definition(c["N"], c["K"])
        case "gqa_paged":
            heads = c["num_qo_heads"], c["num_kv_heads"], c["head_dim"]
            return op.definition(*heads, c["page_size"], prefill=prefill)
        case "gqa_ragged":
            return op.definition(c["num_qo_heads"], c["num_kv_heads"], c["head_dim"])
        case "mla_paged":
            dims = c["num_qo_heads"], c["head_dim_ckv"], c["head_dim_kpe"]
            return op.definition(*dims, c["page_size"], prefill=prefill)
        case "mla_ragged":
            return op.definition(c["num_qo_heads"], c["qk_dim"], c["vo_dim"])
        case "dsa_paged":
            dims = c["num_qo_heads"], c["head_dim_ckv"], c["head_dim_kpe"]
            return op.sparse(*dims, c["topk"], c["page_size"])
        case "gdn":
            sizes = c["num_q_heads"], c["num_v_heads"], c["head_size"]
            return op.definition(*sizes, stage=old.name.split("_")[1])
        case "mamba_ssu":
            return op.definition(c["nheads"], c["head_dim"], c["dstate"], c["ngroups"])
        case "rope":
            return op.definition(c["head_size"], c["rotary_dim"], neox="neox" in old.name)
        case "sampling":
            return op.definition(old.name.split("_sampling")[0], c["vocab_size"])
        case _:
            return op.rebuild(old.name, c)


def test_every_published_signature_is_reproduced(extra: Path) -> None:
    signatures = published(extra)
    assert len(signatures) == 98
    assert {d.op_type for d in signatures.values()} == set(OP_TYPES)
    problems = []
    for name, old in signatures.items():
        was, now = old.signature(), rebuild(old).signature()
        differing = [key for key in was if was[key] != now[key]]
        if bool(differing) != (name in intended()):
            shown = {key: (was[key], now[key]) for key in differing}
            problems.append(f"{name}: {shown or 'does not differ, but the table says so'}")
    assert not problems, "\n" + "\n".join(problems)


def test_the_table_names_only_published_definitions(extra: Path) -> None:
    assert intended() <= set(published(extra))
    assert len(intended()) >= 6


@pytest.mark.parametrize("op_type", OP_TYPES)
def test_every_family_is_complete(op_type: str) -> None:
    op = family(op_type)
    assert op.op_type == op_type
    assert op.divided_by in (None, "tp", "ep")
