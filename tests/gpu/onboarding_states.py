"""What an onboarding has left, as data that two runs of it can be compared by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onboarding_world import World

PREFIX = "onboard/"


def branches(world: World, name: str) -> set[str]:
    """The definitions with a branch in a bare repository."""
    rows = world.git("for-each-ref", "--format=%(refname:short)", "refs/heads",
                     at=world.hosted(name)).split()  # fmt: skip
    return {row.removeprefix(PREFIX) for row in rows if row.startswith(PREFIX)}


def state(world: World) -> dict[str, Any]:
    """What a second run must leave as it is."""
    manifest = json.loads(world.manifest.read_text(encoding="utf-8"))
    manifest.pop("updated", None)
    names = ("flashinfer-trace", "flashinfer-bench")
    refs = {n: world.git("for-each-ref", at=world.hosted(n)) for n in names}
    dataset = world.target / "flashinfer-trace"
    held = {f: p.read_text() if (p := world.root / "bin" / f).exists() else ""
            for f in ("state.json", "issues.json")}  # fmt: skip
    worktrees = {str(at): world.git("worktree", "list", at=at) for at in (dataset, world.bench)}
    files = {p.relative_to(dataset).as_posix(): (p.stat().st_size, p.stat().st_mtime_ns)
             for p in dataset.rglob("*") if p.is_file() and ".git" not in p.parts}  # fmt: skip
    return {"manifest": manifest, "refs": refs, "github": held, "worktrees": worktrees,
            "dataset": files}  # fmt: skip


def outcome(world: World) -> dict[str, Any]:
    """What two onboardings of one model share, whatever happened on their way: no times, figures,
    places or commits."""
    held = state(world)
    manifest = json.loads(json.dumps(held["manifest"]).replace(str(world.root), ""))
    for kernel in manifest["kernels"]:
        for side in ("dataset", "coverage"):
            (kernel.get("phase4", {}).get(side) or {}).pop("commit", None)
            (kernel.get("phase4", {}).get(side) or {}).pop("pr_url", None)
    for phase in manifest["phases"].values():
        phase.pop("steps", None)  # their marks name folders
    bare = world.hosted("flashinfer-trace")
    trees = {name: _content(world, bare, f"{PREFIX}{name}")
             for name in branches(world, "flashinfer-trace")}  # fmt: skip
    titles = {file: sorted(row["title"] for row in json.loads(text or "[]"))
              for file, text in held["github"].items()}  # fmt: skip
    return {"manifest": manifest, "trees": trees, "titles": titles,
            "worktrees": [len(text.splitlines()) for text in held["worktrees"].values()],
            "dataset": sorted(held["dataset"])}  # fmt: skip


def _content(world: World, bare: Path, branch: str) -> dict[str, Any]:
    """The files of a branch; of traces what was run, on what, and the verdict."""
    found: dict[str, Any] = {}
    for path in world.git("ls-tree", "-r", "--name-only", branch, at=bare).splitlines():
        text = world.git("show", f"{branch}:{path}", at=bare)
        if path.startswith("traces/"):
            rows = [json.loads(line) for line in text.splitlines()]
            found[path] = sorted([row["solution"], row["workload"]["uuid"],
                                  row["evaluation"]["status"]] for row in rows)  # fmt: skip
        else:
            found[path] = text
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Where a second run changed something."""
    return [f"the second run changed {place}" for place in _different(before, after, "")]


def _different(one: Any, other: Any, place: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys(), key=str):
            yield from _different(one.get(key), other.get(key), f"{place}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _different(*pair, f"{place}/{number}")
    elif one != other:
        yield f"{place}: {str(one)[:150]} -> {str(other)[:150]}"
