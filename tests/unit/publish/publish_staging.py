"""Files of a dataset as a finished onboarding leaves them, and the two hosted repositories."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import submit_prs
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.inventory import manifest as manifests
from kernelkit.inventory.manifest import Kernel
from kernelkit.models.load import load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request, derive
from kernelkit.reftests import outcomes, write

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CONFIG = FIXTURES / "configs" / "meta-llama__Llama-3.1-8B.json"
DECODE = "gqa_paged_decode_h32_kv8_d128_ps1"
NORM = "rmsnorm_h4096"
DOCUMENT = "docs/model_coverage.mdx"
MODEL = "meta-llama/Llama-3.1-8B"
BRANCH = f"onboard/{DECODE}"
BELONGING = [
    f"blob/workloads/gqa_paged/{DECODE}/{DECODE}_0.safetensors",
    f"blob/workloads/gqa_paged/{DECODE}/{DECODE}_1.safetensors",
    f"definitions/gqa_paged/{DECODE}.json",
    f"solutions/flashinfer/gqa_paged/{DECODE}/flashinfer_decode.json",
    f"tests/references/test_{DECODE}.py",
    f"traces/gqa_paged/{DECODE}.jsonl",
    f"workloads/gqa_paged/{DECODE}.jsonl",
]
# A `gh` that keeps pull requests and issues in files beside it.
GH_PROGRAM = (FIXTURES / "programs" / "gh.py").read_text(encoding="utf-8")
_ATTRIBUTES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


def git(*words: object, at: Path) -> str:
    """The output of a git command."""
    command = ["git", *map(str, words)]
    done = subprocess.run(command, cwd=at, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Upstream:
    """A hosted repository: a bare one, and a tree to push from."""

    tree: Path
    bare: Path

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "change") -> str:
        """Commit and push these contents (None: the file goes); returns the commit."""
        for name, content in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        git("add", "--all", at=self.tree)
        git("commit", "--quiet", "--message", message, at=self.tree)
        git("push", "--quiet", "--force", self.bare, "HEAD:main", at=self.tree)
        return git("rev-parse", "HEAD", at=self.tree)

    def files_of(self, branch: str, since: str = "main") -> list[str]:
        """The paths in which a pushed branch differs from main."""
        return git("diff", "--name-only", f"{since}...{branch}", at=self.bare).splitlines()


@dataclass
class Desk:
    """Two hosted repositories, their checkouts, and the dataset's staged files."""

    dataset: Dataset
    upstream: Upstream
    bench: Path
    bench_upstream: Upstream
    output: Path

    def words(self, *more: object) -> list[str]:
        """The script's arguments."""
        return [
            "--dataset", str(self.dataset.root), "--bench-repo", str(self.bench),
            "--output", str(self.output), *map(str, more),
        ]  # fmt: skip


def make_upstream(folder: Path, name: str, files: Mapping[str, str | bytes | None]) -> Upstream:
    """A hosted repository with one commit."""
    tree, bare = folder / "upstream" / name, folder / "hosted" / f"{name}.git"
    tree.mkdir(parents=True)
    bare.parent.mkdir(exist_ok=True)
    git("init", "--quiet", "--initial-branch=main", at=tree)
    git("init", "--quiet", "--bare", "--initial-branch=main", bare, at=folder)
    made = Upstream(tree, bare)
    made.commit(files, "first")
    return made


@functools.cache
def definition(name: str) -> Definition:
    """One of the model's definitions, derived."""
    model = load_model(None, None, CONFIG, None)
    found = derive(model.spec, Request((f"model:{model.slug}",), (Parallelism(),))).variants
    return next(v.definition for v in found if v.definition.name == name)


def published_files(folder: Path) -> dict[str, str | bytes | None]:
    """The dataset as it is published: a norm with its definition, and attributes for Git-LFS."""
    norm = definition(NORM)
    return {
        ".gitattributes": _ATTRIBUTES,
        "README.md": "# dataset\n",
        f"definitions/rmsnorm/{NORM}.json": norm.to_text(),
    }


def bench_files() -> dict[str, str | bytes | None]:
    """The repository of the coverage document."""
    rows = "".join(
        f"| `{name}` | {kind} | {mark} |\n"
        for name, kind, mark in ((NORM, "rmsnorm", "🟡"), (DECODE, "gqa_paged", "❌"))
    )
    document = (
        "# Model coverage\n\n## Summary\n\n| Model | Architecture | Coverage |\n"
        "|---|---|:-:|\n| Llama 3.1 8B | GQA + Dense | 🟡 Partial |\n\n---\n\n## Llama 3.1 8B\n\n"
        "**Architecture**: 32 decoder layers, GQA attention, dense MLP\n\n"
        f"| Definition | Op Type | Status |\n|---|---|:-:|\n{rows}\n"
        f"**Coverage**: 1 / 2 definitions present. Missing: `{DECODE}`.\n"
    )
    return {DOCUMENT: document, "README.md": "# bench\n"}


def workload(number: int, name: str = DECODE) -> Trace:
    """One recorded decode step; its indices stand in a blob."""
    batch, pages = number + 1, 5 * (number + 1)
    path = f"blob/workloads/gqa_paged/{name}/{name}_{number}.safetensors"
    tensor = {"type": "safetensors", "path": path}
    return Trace.model_validate({
        "definition": name,
        "workload": {
            "uuid": f"00000000-0000-4000-8000-{number:012d}",
            "axes": {"batch_size": batch, "num_pages": 64, "len_indptr": batch + 1,
                     "num_kv_indices": pages},
            "inputs": {
                "q": {"type": "random"}, "k_cache": {"type": "random"},
                "v_cache": {"type": "random"},
                "kv_indptr": {**tensor, "tensor_key": "kv_indptr"},
                "kv_indices": {**tensor, "tensor_key": "kv_indices"},
                "sm_scale": {"type": "scalar", "value": 0.08838834764831843},
            },
            "provenance": {"source": "recording", "model": MODEL, "sglang_version": "0.5.14",
                           "flashinfer_version": "0.6.12", "weights": "dummy"},
        },
    })  # fmt: skip


def blob(line: Trace) -> bytes:
    """The recorded tensors of `workload`."""
    axes = line.workload.axes
    indptr = np.arange(axes["len_indptr"], dtype=np.int32) * 5
    return save({"kv_indptr": indptr, "kv_indices": np.arange(indptr[-1], dtype=np.int32)})


def trace(line: Trace, solution: str, status: str = "PASSED") -> Trace:
    """A verdict."""
    evaluation = {
        "status": status, "timestamp": "2026-01-01T00:00:00", "log": "",
        "environment": {"hardware": "NVIDIA H200", "libs": {"torch": "2.9"}},
    }  # fmt: skip
    if status == "PASSED":
        evaluation["correctness"] = {"max_relative_error": 1e-4, "max_absolute_error": 1e-4}
        evaluation["performance"] = {
            "latency_ms": 0.02, "reference_latency_ms": 0.2, "speedup_factor": 10.0,
        }  # fmt: skip
    plain = line.to_json()
    return Trace.model_validate({**plain, "solution": solution, "evaluation": evaluation})


def solution(name: str, author: str = "flashinfer", of: str = DECODE) -> Solution:
    """A solution of the decode definition."""
    inputs = ", ".join(definition(of).inputs)
    return Solution.model_validate({
        "name": name, "definition": of, "author": author,
        "spec": {"language": "python", "target_hardware": ["cuda"], "entry_point": "main.py::run",
                 "destination_passing_style": False},
        "sources": [{"path": "main.py", "content": f"def run({inputs}):\n    return None\n"}],
    })  # fmt: skip


def stage_decode(dataset: Dataset, workloads: int = 2) -> None:
    """Everything that a complete submission of the decode definition has."""
    wanted = definition(DECODE)
    dataset.write_definition(wanted)
    path = dataset.definition_path(wanted)
    write.write(dataset, path, wanted, write.Options(sizes=("small",)), dry_run=False)
    record_test(dataset, wanted)
    lines = [workload(number) for number in range(workloads)]
    for line in lines:
        write_blob(dataset, line)
    dataset.write_workloads(wanted, lines)
    dataset.write_solution(solution("flashinfer_decode"), wanted)
    dataset.write_solution(solution("mine_wip", author="tester"), wanted)
    dataset.append_traces(wanted, [trace(line, "flashinfer_decode") for line in lines])
    dataset.append_traces(wanted, [trace(lines[0], "mine_wip", "RUNTIME_ERROR")])


def write_blob(dataset: Dataset, line: Trace) -> Path:
    """The recorded tensors of a workload, in their place."""
    path = dataset.root / line.workload.inputs["kv_indptr"].path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob(line))
    return path


def record_test(dataset: Dataset, of: Definition, status: str = "passed") -> None:
    """The outcome of a run of the reference test."""
    outcomes.save(dataset, {of.name: {
        "status": status, "verified": status == "passed", "definition": outcomes.digest(of),
        "time": "2026-01-01T00:00:00Z", "duration_s": 3.0,
        "machine": {"device": "NVIDIA H200"}, "tests": {"passed": 4, "failed": 0, "skipped": 1},
        "ground_truth": {"flashinfer": {
            "small": {"outcome": "passed", "metrics": {
                "output": {"max_abs_error": 0.0078125, "cosine": 0.9999979139746377,
                           "matched_ratio": 1.0, "gain_noise": 0.00016147480337545738},
                "lse": {"max_abs_error": 0.001750946044921875}}},
            "large": {"outcome": "skipped", "reason": "too slow for the large size"},
        }},
        "failures": [],
    }})  # fmt: skip


def write_manifest(path: Path, *names: str) -> Path:
    """A run manifest with these kernels."""
    made = manifests.fresh("llama-3.1-8b", MODEL)
    made.kernels = [
        Kernel(definition_name=name, op_type="gqa_paged", fi_status="fi_supported",
               fi_issue_url="https://example.org/kept")
        for name in names
    ]  # fmt: skip
    path.write_text(made.to_text())
    return path


def phase4(path: Path, name: str = DECODE) -> dict:
    """What the manifest says of a kernel's publishing."""
    kernels = json.loads(path.read_text())["kernels"]
    return next(k for k in kernels if k["definition_name"] == name)["phase4"]


def prepared(desk: Desk, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict]:
    """Exit code and the document of one run on the decode definition."""
    chosen = () if "--manifest" in words else ("--definitions", DECODE)
    code = submit_prs.main(desk.words("--json", *chosen, *words))
    out = capsys.readouterr()
    return code, json.loads(out.out) if out.out else {"error": out.err}


def changed_on(repository: Path, branch: str = BRANCH) -> list[str]:
    """The paths in which a branch of a checkout differs from what its remote has."""
    return git("diff", "--name-only", f"origin/main...{branch}", at=repository).splitlines()


def submitted(desk: Desk, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict]:
    """Exit code of a run with --submit, and the decode definition's part of its document."""
    chosen = () if "--manifest" in words else ("--definitions", DECODE)
    code = submit_prs.main(desk.words("--json", "--submit", *chosen, *words))
    out = capsys.readouterr()
    return code, json.loads(out.out)["definitions"][DECODE] if out.out else {"error": out.err}


def pull_requests(gh: Path) -> list[dict]:
    """Those that the fake gh holds."""
    path = gh / "state.json"
    return json.loads(path.read_text()) if path.exists() else []
