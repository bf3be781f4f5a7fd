#!/usr/bin/env python3
"""Add a model in one go: extract its config, find SGLang's baseline, take the inventory of its
kernels, and generate its entry for the web interface.

Works offline from a config.json; SGLang's sources and a dataset are used where they are named.
Writes model_config.json, model_architecture.json, sglang_implementation.json, manifest.json and
model_analysis_SLUG.json into one folder, and the entry into models.ts. A step without its source is
skipped and says so; one that fails does not stop the others, and ends in exit code 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import cli, collector
from kernelkit.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from kernelkit.models.load import Model
    from kernelkit.webmodel.onboarding import Onboarding

EXAMPLES = """examples:
  python scripts/add_model.py --config config.json --sglang-path tmp/sglang --dry-run
  python scripts/add_model.py --model-name kimi-k2 --hf-repo-id moonshotai/Kimi-K2-Instruct \\
      --sglang-path tmp/sglang --dataset tmp/flashinfer-trace --output models.ts"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    from kernelkit.webmodel.options import add_mapping_options

    parser = cli.parser(__doc__, examples=EXAMPLES)
    cli.model_source(parser, "the model's short name (default: the repository's or config's)")
    parser.add_argument("--sglang-path", type=Path, metavar="DIR", help="checkout or unpacked "
                        "wheel of SGLang (default: the installed one, else no baseline)")
    parser.add_argument("--attention-backend", default="flashinfer", metavar="NAME",
                        help="SGLang's attention backend (default: flashinfer)")
    parser.add_argument("--flashinfer-path", type=Path, metavar="DIR", help="FlashInfer's sources "
                        "(default: the installed ones)")
    add_mapping_options(parser)
    parser.add_argument("--output", type=Path, metavar="models.ts", help="file to put the entry "
                        "into (default: web/apps/web/data/models.ts where that is, else none)")
    parser.add_argument("--output-dir", type=Path, metavar="DIR",
                        help="folder of the other files (default: out/models/SLUG)")
    parser.add_argument("--manifest", type=Path, metavar="FILE",
                        help="run manifest to write or extend (default: manifest.json there)")
    parser.add_argument("--dry-run", action="store_true", help="write nothing; show the steps")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


@collector.paused()
def _run(args: argparse.Namespace) -> int:
    from kernelkit.models.load import load_model
    from kernelkit.webmodel import inputs, onboarding

    config = inputs.config_file(args.config)
    model = load_model(args.model_name, args.hf_repo_id, config, args.revision)
    run = onboarding.Onboarding(
        model=model,
        published=inputs.published(model, config, args.revision),
        source=model.repo_id or str(args.config),
        folder=args.output_dir or Path("out") / "models" / model.slug,
        write=not args.dry_run,
    )
    entry = _steps(args, model, config, run)
    failed = any(step.status == onboarding.FAILED for step in run.results)
    text = "\n\n".join([*filter(None, [entry.pop("summary", "")]), onboarding.as_text(run.results)])
    document = {"id": model.slug, "dry_run": args.dry_run,
                "steps": [step.as_dict() for step in run.results], **entry}  # fmt: skip
    cli.emit(document, as_json=args.json, text=text)
    return EXIT_FAILED if failed else EXIT_OK


def _steps(
    args: argparse.Namespace, model: Model, config: Path | None, run: Onboarding
) -> dict[str, Any]:
    """All steps; returns what the entry step adds to the document."""
    from kernelkit.webmodel import onboarding, steps

    # A wrong path is an error before anything is written.
    tree = onboarding.find_sglang(args.sglang_path)
    options = steps.wanted(args, model, config, None)
    manifest = args.manifest or run.folder / "manifest.json"
    run.step("extract", run.extract)
    implementation = run.baseline(tree, args.attention_backend)
    run.step("inventory", lambda: run.inventory(
        options, tree, implementation, args.flashinfer_path, manifest))  # fmt: skip
    return run.entry(options, implementation, args.output or steps.default_output())


if __name__ == "__main__":
    raise SystemExit(main())
