"""The folder that FLASHINFER_TRACE_APPLY_PATH names: one solution for each live name.

solutions/{op_type}/{live name}.json     what Trace Apply loads
definitions/{op_type}/{live name}.json   their interfaces, under the live name
deployment.json                          what was chosen and why, and what it assumes
README.md                                how to switch it on
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kernelkit.dataset import atomic
from kernelkit.dataset.solution import Solution
from kernelkit.errors import FormatError, UsageError
from kernelkit.publish.deploy import entry
from kernelkit.publish.deploy.choosing import Choice

MANIFEST, SCHEMA = "deployment.json", 1
ENABLE, PATH = "FLASHINFER_TRACE_APPLY", "FLASHINFER_TRACE_APPLY_PATH"
SINCE = "0.7.2"  # the first FlashInfer with Trace Apply


def solution_of(choice: Choice) -> Solution:
    """The chosen solution as Trace Apply loads it, under the live name."""
    assert choice.solution is not None and choice.route is not None
    chosen = choice.solution
    texts = entry.sources(choice.definition, choice.route, chosen)
    return Solution.model_validate({
        "name": chosen.name,
        "definition": choice.route.live,
        "author": chosen.author,
        "description": chosen.description or chosen.name,
        "spec": {
            "language": chosen.spec.language.value,
            "target_hardware": list(chosen.spec.target_hardware),
            "entry_point": f"{entry.FILE}::{entry.FUNCTION}",
            "dependencies": list(chosen.spec.dependencies),
            "destination_passing_style": False,
            "binding": None,
        },
        "sources": [{"path": path, "content": text} for path, text in texts.items()],
    })  # fmt: skip


def row(choice: Choice) -> dict[str, Any]:
    """A choice as plain data."""
    route, score = choice.route, choice.score
    return {
        "definition": choice.definition.name,
        "live_name": route.live if route else None,
        "api": route.api if route else None,
        "solution": choice.solution.name if choice.solution else None,
        "author": choice.solution.author if choice.solution else None,
        "hardware": score.hardware if score else None,
        "workloads": score.workloads if score else None,
        "speedup_over_reference": score.geomean if score else None,
        "assumes": list(route.assumes) if route else [],
        "passed_over": list(choice.passed_over),
        "reason": choice.reason,
    }


def as_text(choices: Iterable[Choice], verdicts: Iterable[dict[str, Any]]) -> str:
    """What was chosen, what was left out and why, and the verdicts of a check."""
    lines = []
    for choice in choices:
        if choice.solution is None or choice.route is None:
            lines.append(f"left out  {choice.definition.name}: {choice.reason}")
            continue
        lines.append(f"deployed  {choice.route.live}  {choice.solution.name}")
        lines += [f"          passed over {reason}" for reason in choice.passed_over]
    lines += [f"{v['status']:<9} {v['live_name']}: {v['message']}" for v in verdicts]
    return "\n".join(lines)


def files(choices: Iterable[Choice], source: str) -> dict[str, str]:
    """Path and text of every file of the folder; `source` names the dataset."""
    found: dict[str, str] = {}
    chosen = [choice for choice in choices if choice.solution is not None]
    for choice in chosen:
        assert choice.route is not None
        place = f"{choice.definition.op_type}/{choice.route.live}.json"
        live = choice.definition.model_copy(update={"name": choice.route.live})
        found[f"definitions/{place}"] = live.to_text()
        found[f"solutions/{place}"] = solution_of(choice).to_text()
    found["README.md"] = _readme(chosen)
    manifest = {"schema_version": SCHEMA, "dataset": source, "flashinfer": f">={SINCE}",
                "files": sorted(found), "deployed": [row(choice) for choice in chosen]}  # fmt: skip
    found[MANIFEST] = json.dumps(manifest, indent=2) + "\n"
    return found


def held(folder: Path) -> list[str]:
    """The files that an earlier deployment wrote.

    Raises UsageError for a folder that holds something else, FormatError for a broken manifest.
    """
    if folder.is_file():
        raise UsageError("the output is a file", received=folder, allowed="a folder")
    path = folder / MANIFEST
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"the folder is not empty and holds no {MANIFEST}", received=folder,
                             next_step="name another with --output")  # fmt: skip
        return []
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["files"]
        return [name for name in listed if _inside(folder, name)]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: not a deployment: {error}") from None


def write(folder: Path, texts: dict[str, str], before: Sequence[str]) -> int:
    """Write the folder, the manifest last, and remove what an earlier deployment had and this has
    not; the number of files that changed."""
    changed = 0
    for name in set(before) - texts.keys():
        (folder / name).unlink(missing_ok=True)
        changed += 1
    for name in [*(n for n in texts if n != MANIFEST), MANIFEST]:
        changed += atomic.write_text(folder / name, texts[name])
    return changed


def _inside(folder: Path, name: str) -> bool:
    return (folder / name).resolve().is_relative_to(folder.resolve())


def _readme(chosen: Sequence[Choice]) -> str:
    lines = [
        "# Kernels for FlashInfer's Trace Apply", "",
        f"Needs FlashInfer {SINCE} or newer. A process that starts with these two variables calls "
        "the solutions below in place of FlashInfer's kernels:", "",
        "```bash", f"export {ENABLE}=1", f"export {PATH}=<this folder>", "```", "",
        "A call is known by its name alone. What the name does not show is the same to Trace Apply "
        "in every call of that name: do not deploy a solution where an assumption does not hold.",
        "", "| Live name | Definition | Solution | Author | Device | Over the reference |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for choice in chosen:
        r = row(choice)
        speed = f"{r['speedup_over_reference']:.2f} x" if r["speedup_over_reference"] else ""
        cells = [r["live_name"], r["definition"], r["solution"], r["author"], r["hardware"], speed]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "## Assumptions", ""]
    lines += [f"- `{row(c)['live_name']}`: {'; '.join(row(c)['assumes'])}" for c in chosen]
    return "\n".join(lines) + "\n"
