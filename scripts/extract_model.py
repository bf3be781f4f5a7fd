#!/usr/bin/env python3
"""Read a model's config.json into its architecture, each value with the field it came from.

Writes two files: model_config.json, byte for byte as published, and model_architecture.json
(layers by kind, heads, MLA ranks, experts, routing, eps, vocabulary, quantization, sources).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import UsageError

EXAMPLES = """examples:
  python scripts/extract_model.py --config config.json --output out/models/mine
  python scripts/extract_model.py --model-id meta-llama/Llama-3.1-8B --dry-run
  python scripts/extract_model.py --model-id Qwen/Qwen3-30B-A3B --json"""


def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model-id", metavar="ORG/NAME", help="a model on the HuggingFace hub")
    source.add_argument("--config", type=Path, metavar="FILE", help="a config.json on this machine")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit; with --model-id")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write to (default: out/models/NAME)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print, but write nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> None:
    from kernelkit.models.config import parse_config
    from kernelkit.models.extracted import architecture_document, write_extracted
    from kernelkit.models.hub import fetch_file, read_config
    from kernelkit.models.naming import slug, slug_of_config
    from kernelkit.models.summary import summary

    if args.revision is not None and args.model_id is None:
        raise UsageError("--revision needs --model-id", received=args.revision)
    path = args.config or fetch_file(args.model_id, args.revision)
    config = read_config(path)
    name = slug(args.model_id) if args.model_id else slug_of_config(path)
    spec = parse_config(config, name=name)
    document = architecture_document(
        spec, name=name, source=args.model_id or str(args.config), revision=args.revision
    )
    text = summary(spec, name)
    if not args.dry_run:
        folder = args.output or Path("out") / "models" / name
        written = write_extracted(folder, path.read_bytes(), document)
        text += "\n\n" + "\n".join(f"  wrote {file}" for file in written)
        document = {**document, "files": [str(file) for file in written]}
    cli.emit(document, as_json=args.json, text=text)


if __name__ == "__main__":
    sys.exit(main())
