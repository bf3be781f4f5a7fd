"""What must be true of an onboarding that has ended, read from what it left behind.

Written apart from the code that onboards: only the validator is called, as a program.
"""

from __future__ import annotations

import importlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from onboarding_states import PREFIX, branches
from onboarding_world import DOCUMENT, World

ROOT = Path(__file__).resolve().parents[2]
_POINTER = re.compile(rb"^version https://git-lfs[^\n]*\noid sha256:([0-9a-f]{64})\n")
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_PARTS = ("definitions", "tests", "solutions", "workloads", "traces")  # blobs: where recorded
Problems = list[str]


def check(world: World, jobs: int) -> dict[str, Any]:
    """Facts of the pushed branches and of the manifest, and every problem found."""
    manifest = json.loads(world.manifest.read_text(encoding="utf-8"))
    problems = list(_kernels(manifest)) + list(_phases(manifest, world))
    names = branches(world, "flashinfer-trace")
    published = {k["definition_name"] for k in manifest["kernels"]
                 if (k.get("phase4") or {}).get("status") == "published"}  # fmt: skip
    if names != published:
        problems.append(f"branches and published kernels differ: {sorted(names ^ published)}")
    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(lambda name: _branch(world, name), sorted(names)))
    for item in found:
        problems += [f"{item['definition']}: {text}" for text in item.pop("problems")]
    problems += _coverage(world, published)
    problems += _requests(world, published)
    return {
        "published": found,
        "skipped": {k["definition_name"]: k.get("skipped") or {} for k in manifest["kernels"]
                    if k["definition_name"] not in published},
        "flashinfer_bench": _their_models() is not None,
        "problems": problems,
    }  # fmt: skip


def _kernels(manifest: dict[str, Any]) -> Iterator[str]:
    """Each is published, or says why not; what the pass showed is published; no check fails."""
    if not manifest["kernels"]:
        yield "the manifest has no kernels"
    for kernel in manifest["kernels"]:
        name, four = kernel["definition_name"], kernel.get("phase4") or {}
        failed = [c for c in four.get("checklist") or [] if c["result"] == "fail"]
        yield from (f"{name}: checklist: {c['name']}: {c['text']}" for c in failed)
        if four.get("status") == "published":
            if not all((four.get(side) or {}).get("pushed") for side in ("dataset", "coverage")):
                yield f"{name}: published, but not both branches are pushed"
            if any(c["result"] != "pass" for c in four["checklist"]):
                yield f"{name}: published with an incomplete checklist"
        elif not all((kernel.get("skipped") or {}).get(phase) for phase in "34"):
            yield f"{name}: {four.get('status')}, and does not say why"
        elif (kernel.get("phase2") or {}).get("sglang_pass") == "captured":
            yield f"{name}: the SGLang pass shows it, but it is not published"


def _phases(manifest: dict[str, Any], world: World) -> Iterator[str]:
    for number, phase in (manifest.get("phases") or {}).items():
        if phase["status"] != "done":
            yield f"phase {number} is {phase['status']}: {phase.get('problems')}"
    if sorted(manifest.get("phases") or {}) != list("01234"):
        yield f"phases {sorted(manifest.get('phases') or {})}"
    served = [{"tp": s["tp"], "ep": s["ep"]} for s in manifest.get("serving") or []]
    wanted = [{"tp": world.case.tp, "ep": world.case.ep}]
    if served != wanted:
        yield f"served as {served}, the cookbook says {wanted}"


def _branch(world: World, name: str) -> dict[str, Any]:
    """One pushed branch of the dataset, as if it were merged."""
    bare, branch = world.hosted("flashinfer-trace"), f"{PREFIX}{name}"
    tree = world.root / "merged" / name
    changed = world.git("diff", "--name-only", f"main...{branch}", at=bare).splitlines()
    problems = _unpack(world, bare, branch, tree)
    workloads, traces = _lines(tree, "workloads", name), _lines(tree, "traces", name)
    problems += _files(name, changed, tree)
    problems += _lines_problems(tree, name, workloads, traces)
    problems += _validated(tree) + _theirs(tree)
    shutil.rmtree(tree)
    return {"definition": name, "files": len(changed), "workloads": len(workloads),
            "traces": len(traces), "problems": problems}  # fmt: skip


def _unpack(world: World, bare: Path, branch: str, tree: Path) -> Problems:
    """The branch's tree, tensors in place of their pointers."""
    command = ["git", "-C", str(bare), "archive", branch]
    done = subprocess.run(command, env=world.environment, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(tree, filter="data")
    problems = []
    for path in tree.rglob("*.safetensors"):
        if match := _POINTER.match(path.read_bytes()[:300]):
            oid = match.group(1).decode()
            held = bare / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
            if held.is_file():
                shutil.copyfile(held, path)
            else:
                problems.append(f"the hosted repository lacks the object of {path.name}")
    return problems


def _files(name: str, changed: list[str], tree: Path) -> Problems:
    """Only files of this definition, and all that a complete one has."""
    foreign = [path for path in changed if name not in Path(path).stem.split("__")
               and path.split("/")[-2] != name and Path(path).stem != f"test_{name}"]  # fmt: skip
    tops = {path.split("/")[0] for path in changed}
    problems = [f"a file of something else: {path}" for path in foreign]
    problems += [f"nothing below {part}/" for part in _PARTS if part not in tops]
    problems += [f"unexpected folder {top}/" for top in tops - {*_PARTS, "blob"}]
    named = {source["path"] for line in _lines(tree, "workloads", name)
             for source in line["workload"]["inputs"].values()
             if source["type"] == "safetensors"}  # fmt: skip
    blobs = {path for path in changed if path.startswith("blob/")}
    if blobs != named:
        problems.append(f"tensors of the branch and of the workloads differ: {blobs ^ named}")
    return problems


def _lines(tree: Path, kind: str, name: str) -> list[dict[str, Any]]:
    paths = list(tree.glob(f"{kind}/*/{name}.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def _lines_problems(
    tree: Path, name: str, workloads: list[dict[str, Any]], traces: list[dict[str, Any]]
) -> Problems:
    """Workloads are recorded ones, and every one has a trace that passed."""
    (path,) = tree.glob(f"definitions/*/{name}.json")
    definition = json.loads(path.read_text(encoding="utf-8"))
    index = {k for k, spec in definition["inputs"].items()
             if spec["shape"] and spec["dtype"] in ("int32", "int64")}  # fmt: skip
    problems = []
    for line in workloads:
        workload, about = line["workload"], line["workload"].get("provenance") or {}
        if [k for k in index if workload["inputs"][k]["type"] == "random"]:
            problems.append(f"workload {workload['uuid']} has invented indices")
        if not about.get("source") or "synthetic" in about["source"] or not about.get("model"):
            problems.append(f"workload {workload['uuid']} is of unknown origin: {about}")
    bad = [t["evaluation"]["status"] for t in traces if t["evaluation"]["status"] != "PASSED"]
    problems += [f"a trace is {status}" for status in bad]
    bare = {w["workload"]["uuid"] for w in workloads} - {t["workload"]["uuid"] for t in traces}
    problems += [f"no trace of workload {uuid}" for uuid in sorted(bare)]
    return problems if workloads else ["no workloads"]


def _validated(tree: Path) -> Problems:
    """The validator's errors."""
    command = [sys.executable, str(ROOT / "scripts" / "validate_dataset.py"), "--dataset",
               str(tree), "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return []
    said = done.stdout[-1500:] + done.stderr[-500:]
    return [f"validate_dataset.py ended with {done.returncode}: {said}"]


def _their_models() -> Any:
    """The module with flashinfer-bench's models, or None."""
    try:
        return importlib.import_module("flashinfer_bench.data")
    except ImportError:
        return None


def _theirs(tree: Path) -> Problems:
    """flashinfer-bench's own models and loader, where that is installed."""
    data = _their_models()
    if data is None:
        return []
    problems = []
    for kind, model in (("definitions", data.Definition), ("solutions", data.Solution),
                        ("workloads", data.Trace), ("traces", data.Trace)):  # fmt: skip
        for path in sorted((tree / kind).rglob("*.json*")):
            text = path.read_text(encoding="utf-8")
            for document in text.splitlines() if path.suffix == ".jsonl" else [text]:
                try:
                    model.model_validate_json(document)
                except ValueError as error:
                    problems.append(f"flashinfer-bench refuses {path.name}: {error}"[:500])
    if not problems:
        data.TraceSet.from_path(str(tree))
    return problems


def _coverage(world: World, published: set[str]) -> Problems:
    """Each coverage branch changes the document alone, there one model's section alone."""
    bare = world.hosted("flashinfer-bench")
    before = _sections(world.git("show", f"main:{DOCUMENT}", at=bare))
    names = branches(world, "flashinfer-bench")
    problems = [f"{name}: no coverage branch, or one too many" for name in names ^ published]
    titles = set()
    for name in sorted(names & published):
        branch = f"{PREFIX}{name}"
        changed = world.git("diff", "--name-only", f"main...{branch}", at=bare).split()
        if changed != [DOCUMENT]:
            problems.append(f"{name}: the coverage branch changes {changed}")
        after = _sections(world.git("show", f"{branch}:{DOCUMENT}", at=bare))
        touched = {t for t in before.keys() | after.keys() if before.get(t) != after.get(t)}
        titles |= touched - {"Summary", ""}
        if f"`{name}`" not in "".join(after.get(t, "") for t in touched):
            problems.append(f"{name}: no section that changed lists it")
    if len(titles) > 1:
        problems.append(f"coverage branches touch several sections: {sorted(titles)}")
    return problems


def _sections(document: str) -> dict[str, str]:
    """The text of each `##` section; a rule that parts two sections is of neither."""
    parts = _HEADING.split(document)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {"": parts[0]} | {title: text.rstrip("-\n ") for title, text in texts.items()}


def _requests(world: World, published: set[str]) -> Problems:
    """One pull request of each coverage branch, opened once."""
    made = [call for call in world.calls() if call[:2] == ["pr", "create"]]
    heads = [call[call.index("--head") + 1].removeprefix(PREFIX) for call in made]
    wrong = sorted(published ^ set(heads)) + sorted({h for h in heads if heads.count(h) > 1})
    return [f"{name}: not just one pull request" for name in wrong]
