#!/usr/bin/env python3
"""Every template through both evaluators: all must end PASSED here and in flashinfer-bench 0.1.2.

Writes a dataset of the templates as they lie, each with workloads of several sizes and, from the
datasets named by --recorded, those that were recorded from SGLang. Then bench.py, once with each
engine. Ends with 1 where a pair did not pass.

    python tests/gpu/evaluate_templates.py --output out/templates --recorded out/gpu/llama/expected
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("scripts", "tests/benchmarks", "tests/templates")]

import cases  # noqa: E402
import served  # noqa: E402

from kernelkit import cli  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.errors import EXIT_FAILED, EXIT_OK  # noqa: E402
from kernelkit.reftests.plans import plan_of  # noqa: E402
from kernelkit.solutions.templates import FOLDER, load_all  # noqa: E402

PAGES = {"batch_size": (1, 4, 32), "tokens": (64, 2048)}
ROWS = tuple({"batch_size": n} for n in (1, 7, 64, 1024))
SIZES: dict[str, tuple[dict[str, int], ...]] = {
    "rmsnorm": ROWS, "fused": ROWS,
    "gemm": tuple({"M": n} for n in (1, 17, 128, 4096)),
    "top": tuple({"batch_size": n} for n in (1, 7, 64)),  # a draw from 128256 is judged by many
}  # fmt: skip
# flashinfer-bench reads 500,000 draws of each row one by one: 25 us each, 800 s at 64 rows.
FEW_ROWS = ({"batch_size": 1}, {"batch_size": 2})
PECULIAR = ("mamba_ssu", "moe", "sampling")  # standard normal values say nothing of these
ENGINES = ("kernelkit", "flashinfer-bench")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="DIR")
    add("--recorded", type=Path, nargs="*", default=[], metavar="DATASET")
    add("--engines", type=cli.names, default=list(ENGINES), metavar="A,B")
    add("--templates", type=cli.names, metavar="A,B", help="default: all")
    add("--device", default="cuda:0")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    found: dict[str, Any] = {}
    for engine in args.engines:
        root = args.output / engine
        pairs = write_dataset(root, args.recorded, args.templates, engine)
        found[engine] = {"pairs": pairs, **evaluate(root, engine, args.device)}
        cli.say(f"{engine}: {found[engine]['statuses']} of {pairs} pairs")
    cli.emit(found, as_json=args.json, text=json.dumps(found, indent=1))
    passed = all(f["statuses"] == {"PASSED": f["pairs"]} for f in found.values())
    return EXIT_OK if passed else EXIT_FAILED


def write_dataset(
    root: Path, recorded: Sequence[Path], names: Sequence[str] | None, engine: str = "kernelkit"
) -> int:
    """The dataset of all templates; returns how many pairs it has."""
    definitions, templates = served.definitions(), load_all(FOLDER)
    if names:
        templates = [each for each in templates if each.name in names]
    wanted = {each.metadata["definition"] for each in templates}
    made = [
        cases.Case(each, axes_of(each, engine), [], in_blobs=each.op_type in PECULIAR)
        for name, each in sorted(definitions.items())
        if name in wanted
    ]
    dataset = cases.write_dataset(root, made)
    for source in map(Dataset, recorded):
        add_recorded(dataset, source, wanted)
    for template in templates:
        solution = Solution.model_validate(template.document())
        dataset.write_solution(solution, definitions[solution.definition])
    works = {name: len(dataset.workloads_of(definitions[name])) for name in wanted}
    return sum(works[template.metadata["definition"]] for template in templates)


def axes_of(definition: Definition, engine: str = "kernelkit") -> list[dict[str, int]]:
    """Sizes of a definition: those named here, or its reference test's."""
    name = definition.name
    if engine != "kernelkit" and definition.op_type == "sampling":
        return list(FEW_ROWS)
    if "paged_decode" in name:
        size = int(name.rsplit("_ps", 1)[1])
        both = ((b, t // size) for b in PAGES["batch_size"] for t in PAGES["tokens"])
        return [cases.decode_axes(batch, pages) for batch, pages in both]
    sizes = plan_of(definition).sizes
    return list(SIZES.get(name.split("_")[0], (sizes["small"], sizes["medium"])))


def add_recorded(dataset: Dataset, source: Dataset, wanted: set[str]) -> None:
    """Copy the recorded workloads of the wanted definitions, with their blobs."""
    for name in wanted & source.definitions().keys():
        definition = dataset.find_definition(name)
        lines = [*dataset.workloads_of(definition), *source.workloads_of(definition)]
        dataset.write_workloads(definition, lines)
        folder = source.blob_folder(definition)
        if folder.is_dir():
            shutil.copytree(folder, dataset.root / source.relative(folder), dirs_exist_ok=True)


def evaluate(root: Path, engine: str, device: str) -> dict[str, Any]:
    """Run bench.py; statuses, and what did not pass with its log."""
    words = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--dataset", str(root), "--engine",
             engine, "--device", device, "--warmup-runs", "3", "--iterations", "10",
             "--num-trials", "1"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True)
    statuses: Counter[str] = Counter()
    bad = []
    for path in sorted((root / "traces").rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            trace = json.loads(line)
            found = trace["evaluation"]
            statuses[found["status"]] += 1
            if found["status"] != "PASSED":
                log = str(found.get("log"))[-1500:]
                bad.append({"solution": trace["solution"], "axes": trace["workload"]["axes"],
                            "status": found["status"], "log": log})  # fmt: skip
    return {"exit_code": done.returncode, "statuses": dict(statuses), "bad": bad,
            "stderr": done.stderr[-1500:]}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
