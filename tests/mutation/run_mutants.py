"""Plants mistakes in the code that decides verdicts, one at a time, and runs its tests on each.

A mutant that its tests let pass survives. `harmless.json` lists those that may: each with the
reason why nothing that is decided or reported changes. Any other is a hole in the tests, exit 1.
`plan.json` says which tests hold which module.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def report(module: str, results: Sequence[Any], harmless: dict[str, str]) -> dict[str, Any]:
    """The counts, the survivors that matter, and entries of `harmless` that a test does kill."""
    alive = [r for r in results if r.fate not in ("killed", "timeout")]
    known = {result.mutant.key for result in alive}
    killed = {result.mutant.key for result in results} - known
    return {
        "module": module,
        "mutants": len(results),
        "killed": len(killed),
        "harmless": sum(key in harmless for key in known),
        "surviving": [
            f"{r.mutant.line}: {r.mutant.key}{'' if r.fate == 'survived' else f' ({r.fate})'}"
            for r in alive
            if r.mutant.key not in harmless
        ],
        "stale": sorted(killed & set(harmless)),
    }


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("modules", nargs="*", help="below kernelkit/bench; default: all planned")
    parser.add_argument("--only", default="", help="mutants whose name has this text")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    parser.add_argument("--killers", action="store_true", help="say which test kills each mutant")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """0: no surviving mutant that matters; 1: one does."""
    args = build_parser().parse_args(argv)
    plan = json.loads((FOLDER / "plan.json").read_text())
    unknown = sorted(set(args.modules) - set(plan))
    if unknown:
        build_parser().error(f"not in plan.json: {', '.join(unknown)}; known: {', '.join(plan)}")
    modules = args.modules or list(plan)
    if len(modules) > 1:  # each in a process of its own: mutants need modules that are not changed
        return max(_alone(module, args) for module in modules)
    (module,) = modules
    document = _document(module, plan[module], args)
    print(json.dumps(document) if args.json else _text(document))
    return int(bool(document["surviving"] or document["stale"]))


def _alone(module: str, args: argparse.Namespace) -> int:
    flags = [f"--only={args.only}", *["--json"] * args.json, *["--killers"] * args.killers]
    return subprocess.run([sys.executable, __file__, module, *flags], check=False).returncode


def _document(module: str, tests: Sequence[str], args: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm
    from trying import try_module

    results = try_module(
        module, tests, args.only, lambda found: tqdm(found, desc=module, disable=None)
    )
    for result in results if args.killers else ():
        print(f"{result.fate} {result.mutant.key}: {result.test}", file=sys.stderr)
    harmless = json.loads((FOLDER / "harmless.json").read_text())
    return report(module, results, harmless.get(module, {}))


def _text(document: dict[str, Any]) -> str:
    counts = "{module}: {mutants} mutants, {killed} killed, {harmless} harmless".format(**document)
    alive = [f"  {kind}  {text}" for kind in ("surviving", "stale") for text in document[kind]]
    return "\n".join([counts, *alive, "" if alive else "no surviving mutant that matters"])


if __name__ == "__main__":
    raise SystemExit(main())
