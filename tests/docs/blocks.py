#!/usr/bin/env python3
"""The parts of documents that follow from the code: tables of skills, scripts and op types.

A block stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->`. Without --write it is
checked (exit code 1: stale); a test does the same.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kernelkit import cli  # noqa: E402
from kernelkit.dataset import atomic  # noqa: E402
from kernelkit.errors import EXIT_FAILED, FormatError  # noqa: E402
from kernelkit.ops import OP_TYPES, family  # noqa: E402

DOCUMENTS = ("README.md", "CLAUDE.md")
# The way of a model; a skill that is not named here comes last.
ORDER = ("onboard-model", "clone-repos", "extract-model-from-hf", "find-sglang-baseline",
         "discover-models", "add-new-model", "extract-kernel-definitions", "add-reference-tests",
         "collect-workloads", "collect-workloads-bench", "validate-dataset",
         "add-flashinfer-solution", "optimize-kernel", "generate-model-definition", "track-models",
         "submit-onboarding-prs")  # fmt: skip
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
_PATTERN = re.compile(r"\b(?:[a-z0-9]+_)+[a-z0-9]*\{\S+")


def skills() -> dict[str, str]:
    """The text of each skill's playbook, in the order of a model's way."""
    found = {path.parent.name: path for path in (ROOT / ".claude" / "skills").glob("*/SKILL.md")}
    names = sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else 99, name))
    return {name: found[name].read_text(encoding="utf-8") for name in names}


def skill_table() -> str:
    """What each skill is for, from `summary` in its metadata. Raises FormatError without one."""
    rows = []
    for name, text in skills().items():
        summary = re.search(r'^  summary: "(.+)"$', text, re.MULTILINE)
        if summary is None:
            raise FormatError(f"{name}/SKILL.md has no summary in its metadata")
        rows.append((f"`/{name}`", summary.group(1)))
    return _table(("Skill", "Use it to"), rows)


def script_table() -> str:
    """What each script does, from its docstring, and the playbook that names it most often."""
    rows = []
    texts = skills()
    for path in sorted((ROOT / "scripts").glob("[a-z]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        sentence = " ".join(re.split(r"\.(?:\s|$)", doc, maxsplit=1)[0].split())
        counts = {name: text.count(f"scripts/{path.name}") for name, text in texts.items()}
        best = max(counts, key=lambda name: counts[name])
        rows.append((f"`{path.name}`", sentence, f"`/{best}`" if counts[best] else ""))
    return _table(("Script", "What it does", "Playbook"), rows)


def exit_codes() -> str:
    """The exit codes of all scripts."""
    return cli.EXIT_CODES[0].upper() + cli.EXIT_CODES[1:] + "."


def op_type_table() -> str:
    """Each op family: the names of its definitions and what it is, from its docstring."""
    rows = []
    for op_type in OP_TYPES:
        doc = import_module(f"kernelkit.ops.{op_type}").__doc__ or ""
        what = " ".join(re.split(r"\.\s|, named ", doc.split(": ", 1)[1], maxsplit=1)[0].split())
        names = dict.fromkeys(_prefix(name) for name in _PATTERN.findall(doc))
        divided = {"tp": "TP", "ep": "EP", None: ""}[family(op_type).divided_by]
        rows.append((f"`{op_type}`", ", ".join(f"`{name}`" for name in names), what, divided))
    return _table(("op_type", "Definitions", "What", "Shapes follow"), rows)


def _prefix(name: str) -> str:
    """A definition's name up to its first size: `rmsnorm_h` of `rmsnorm_h{hidden_size}`."""
    head = re.sub(r"\{[a-z0-9_]+(?:\|[a-z0-9_]+)+\}", "*", name)
    return head.split("{")[0]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


BLOCKS: dict[str, Callable[[], str]] = {
    "skills": skill_table,
    "scripts": script_table,
    "exit-codes": exit_codes,
    "op-types": op_type_table,
}


def renewed(text: str) -> str:
    """The document with its blocks as they should be. Raises FormatError for an unknown one."""

    def block(match: re.Match[str]) -> str:
        if match[2] not in BLOCKS:
            raise FormatError("no such block", received=match[2], allowed=", ".join(BLOCKS))
        return f"{match[1]}{BLOCKS[match[2]]()}\n{match[3]}"

    return _BLOCK.sub(block, text)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples="examples:\n  python tests/docs/blocks.py --write")
    parser.add_argument("--write", action="store_true", help="write the stale ones anew")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int | None:
    stale = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        if (new := renewed(text)) != text:
            stale.append(name)
            if args.write:
                atomic.write_text(ROOT / name, new)
    cli.emit({"stale": stale, "written": args.write}, as_json=args.json, text="\n".join(stale))
    return EXIT_FAILED if stale and not args.write else None


if __name__ == "__main__":
    raise SystemExit(main())
