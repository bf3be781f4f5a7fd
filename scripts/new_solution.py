#!/usr/bin/env python3
"""Start a solution of a definition: a folder that runs at once and passes, made from a template.

The folder holds main.py (the definition's arguments, constants, shapes and dtypes), solution.json
and a README with the next commands. `--list` shows the templates and what they serve.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import UsageError

EXAMPLES = """examples:
  python scripts/new_solution.py --list
  python scripts/new_solution.py --definition rmsnorm_h4096 --dataset out/demo/dataset \\
      --template triton_kernel --author me --name my_norm --output out/my_norm"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--definition", metavar="NAME", help="the definition to solve")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="the dataset that holds it")
    parser.add_argument("--template", metavar="T", help="the template, see --list")
    parser.add_argument("--author", metavar="A", help="who writes the solution")
    parser.add_argument("--name", metavar="N", help="of the solution (default: TEMPLATE_NAME)")
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="the new folder (default: out/solutions/N)")
    parser.add_argument("--list", action="store_true",
                        help="show the templates; with --definition only those that serve it")
    parser.add_argument("--force", action="store_true", help="overwrite files that differ")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> None:
    if args.list:
        return _list(args)
    needed = ("definition", "dataset", "template", "author")
    if missing := [name for name in needed if getattr(args, name) is None]:
        raise UsageError(
            "options are missing", received=", ".join(f"--{name}" for name in missing),
            next_step="python scripts/new_solution.py --list shows the templates",
        )  # fmt: skip
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions import scaffold, templates, unpack

    definition = Dataset.open(args.dataset).find_definition(args.definition)
    template, own = templates.choose(templates.load_all(), args.template, definition)
    name = args.name or f"{args.template}_{definition.name}"
    folder = args.output or Path("out", "solutions", name)
    files = scaffold.new_files(
        definition, template, own=own, author=args.author, name=name, folder=folder,
        dataset=args.dataset,
    )  # fmt: skip
    writes = unpack.plan(folder, files, force=args.force)
    written = 0 if args.dry_run else unpack.write(writes)
    paths = [str(item.path) for item in writes]
    document = {"dry_run": args.dry_run, "name": name, "definition": definition.name,
                "template": template.name, "folder": str(folder), "files": paths,
                "written": written}  # fmt: skip
    verb = "would write" if args.dry_run else "next: see"
    cli.emit(document, as_json=args.json, text="\n".join([*paths, f"{verb} {paths[0]}"]))


def _list(args: argparse.Namespace) -> None:
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions import templates

    found = templates.load_all()
    if args.definition and args.dataset:
        definition = Dataset.open(args.dataset).find_definition(args.definition)
        found = templates.serving(found, definition)
    elif args.definition:
        raise UsageError("--definition stands in a dataset", next_step="add --dataset DIR")
    rows = [templates.row(template) for template in found]
    text = "\n".join(
        f"{r['template']} ({r['language']}): {r['description']}\n    "
        f"{', '.join(r['op_types'])}: {', '.join(r['serves'])}" for r in rows
    )  # fmt: skip
    cli.emit({"templates": rows}, as_json=args.json, text=text)


if __name__ == "__main__":
    raise SystemExit(main())
