#!/usr/bin/env python3
"""What SGLang does for a model: its file and classes, its layers, and the kernels they call.

Reads SGLang's sources (a checkout, an unpacked wheel or the installed package) with `ast`; neither
sglang nor torch is imported and no GPU is needed. Writes sglang_implementation.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli, collector
from kernelkit.errors import UsageError

if TYPE_CHECKING:
    from kernelkit.sglang.document import Implementation
    from kernelkit.sglang.tree import SglangTree

EXAMPLES = """examples:
  python scripts/find_sglang_baseline.py --config config.json --sglang-path tmp/sglang
  python scripts/find_sglang_baseline.py --model-name qwen3_moe --sglang-path tmp/sglang --dry-run
  python scripts/find_sglang_baseline.py --config config.json --sglang-installed --json"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--model-name", metavar="NAME",
                        help="class (LlamaForCausalLM), model file (qwen3_moe) or short name; "
                        "with --config only the short name in the output")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the model's config.json")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--sglang-path", type=Path, metavar="DIR",
                        help="a checkout or an unpacked wheel of SGLang")
    source.add_argument("--sglang-installed", action="store_true",
                        help="the installed package (located, not imported)")
    parser.add_argument("--flashinfer-path", type=Path, metavar="DIR",
                        help="FlashInfer sources, to tell which APIs carry trace templates "
                        "(default: the installed package, else unknown)")
    parser.add_argument("--attention-backend", default="flashinfer", metavar="NAME",
                        help="as SGLang's own option (default: flashinfer)")
    parser.add_argument("--compute-capability", type=_capability, metavar="9.0",
                        help="decide branches on the GPU generation (default: show both)")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="default: sglang_implementation.json")
    parser.add_argument("--dry-run", action="store_true", help="print, but write nothing")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _capability(text: str) -> tuple[int, int]:
    major, dot, minor = text.partition(".")
    if not (dot and major.isdigit() and minor.isdigit()):
        raise argparse.ArgumentTypeError(f"not a compute capability: {text!r}; expected e.g. 9.0")
    return int(major), int(minor)


@collector.paused()
def _run(args: argparse.Namespace) -> None:
    from kernelkit.sglang.templates import locate_flashinfer
    from kernelkit.sglang.tree import locate

    if args.config is None and args.model_name is None:
        raise UsageError("no model given", allowed="--config FILE or --model-name NAME")
    tree = locate(args.sglang_path)
    _write(args, _find(args, tree, locate_flashinfer(args.flashinfer_path)))


def _find(args: argparse.Namespace, tree: SglangTree, flashinfer: Path | None) -> Implementation:
    from kernelkit.models.load import load_model
    from kernelkit.sglang.implementation import find, find_by_name

    backend, capability = args.attention_backend, args.compute_capability
    if args.config is None:
        return find_by_name(args.model_name, tree, backend,
                            capability=capability, flashinfer=flashinfer)  # fmt: skip
    model = load_model(args.model_name, None, args.config)
    return find(model.spec, tree, backend,
                config=model.config, capability=capability, flashinfer=flashinfer)  # fmt: skip


def _write(args: argparse.Namespace, found: Implementation) -> None:
    from kernelkit.dataset.atomic import write_text
    from kernelkit.sglang.summary import summary

    text = summary(found)
    if not args.dry_run:
        path = args.output or Path("sglang_implementation.json")
        try:
            changed = write_text(path, found.to_text())
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None
        text += f"\n\n  {'wrote' if changed else 'unchanged:'} {path}"
    cli.emit(found.to_json(), as_json=args.json, text=text)


if __name__ == "__main__":
    raise SystemExit(main())
