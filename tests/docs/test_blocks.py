"""Generated parts of documents are what the code says now, and the writer touches nothing else."""

from __future__ import annotations

import json
import re

import blocks
import pytest

from kernelkit.errors import FormatError
from kernelkit.models.config import parse_config
from kernelkit.models.parallelism import parallel_grid
from kernelkit.ops import OP_TYPES
from kernelkit.ops.derivation import Request, derive


@pytest.mark.parametrize("name", blocks.DOCUMENTS)
def test_the_blocks_are_fresh(name: str) -> None:
    text = (blocks.ROOT / name).read_text(encoding="utf-8")
    assert blocks.renewed(text) == text, "python tests/docs/blocks.py --write"


def test_every_block_is_used_and_closed() -> None:
    texts = [(blocks.ROOT / name).read_text(encoding="utf-8") for name in blocks.DOCUMENTS]
    opened = [name for text in texts for name in re.findall(r"<!-- generated: (\S+) -->", text)]
    closed = [name for text in texts for name in re.findall(r"<!-- end: (\S+) -->", text)]
    assert opened == closed and set(opened) == set(blocks.BLOCKS)


def test_a_stale_block_is_renewed_and_the_rest_stays() -> None:
    text = "before\n<!-- generated: exit-codes -->\nold\n<!-- end: exit-codes -->\nafter | x\n"
    new = blocks.renewed(text)
    assert new == text.replace("old", blocks.exit_codes()) and blocks.renewed(new) == new
    with pytest.raises(FormatError, match="no-such"):
        blocks.renewed("<!-- generated: no-such -->\n<!-- end: no-such -->")


def test_the_tables_tell_what_the_code_does() -> None:
    ops = blocks.op_type_table().splitlines()[2:]
    assert [re.findall(r"`(\w+)`", row)[0] for row in ops] == list(OP_TYPES)
    names = {row.split(" | ")[0]: re.findall(r"`([^`]+)`", row)[1:] for row in ops}
    assert names["| `gemm`"] == ["gemm_n"] and names["| `gdn`"] == [
        "gdn_decode_qk", "gdn_mtp_qk", "gdn_prefill_qk",
    ]  # fmt: skip
    scripts = blocks.script_table()
    assert "| `bench.py` | Verify and time solutions" in scripts
    assert not [row for row in scripts.splitlines() if row.endswith("|  |")], "in no playbook"
    assert blocks.skill_table().count("\n") == len(blocks.skills()) + 1


def _derived() -> set[str]:
    """The names of the definitions that the bundled configs give."""
    request = Request(parallel=parallel_grid([1, 8], [1, 8]))
    configs = (blocks.ROOT / "tests" / "fixtures" / "configs").glob("*.json")
    specs = [parse_config(json.loads(path.read_text(encoding="utf-8"))) for path in configs]
    return {v.definition.name for spec in specs for v in derive(spec, request).variants}


def test_every_name_of_a_definition_is_told() -> None:
    """The names that models of all kinds get begin as the table says."""
    told = re.findall(r"`([a-z0-9_*]+)`", blocks.op_type_table())
    begins = tuple(re.escape(name).replace(r"\*", "[a-z_]+") + r"\d" for name in told)
    names = _derived()
    assert len(names) >= 100
    assert [name for name in names if not re.match("|".join(begins), name)] == []


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert blocks.main(["--json"]) == 0
    assert '"stale": []' in capsys.readouterr().out
