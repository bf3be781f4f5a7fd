"""The run manifest: extended by every step, clobbered by none, whole at every moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelkit.errors import ConflictError, FormatError, UsageError
from kernelkit.inventory import manifest, schema
from kernelkit.inventory.locks import run_lock
from kernelkit.inventory.manifest import Evidence, Kernel, Manifest, Serving

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / ".claude/skills/discover-models/reference"


def _inventory(*names: str, **fields: object) -> Manifest:
    found = manifest.fresh("llama-3.1-8b", "meta-llama/Llama-3.1-8B")
    found.serving = [Serving(tp=1, ep=1)]
    found.kernels = [
        Kernel(definition_name=name, op_type="rmsnorm", phase1_status="new", **fields)
        for name in names
    ]
    return found


def _write(path: Path, found: Manifest, *, refresh: bool = False) -> bool:
    start = manifest.fresh(found.model_slug, found.hf_repo_id)
    return manifest.update(
        path, lambda held: manifest.merge(held, found, refresh=refresh), otherwise=start
    )


def test_a_second_identical_run_changes_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "out" / "run.json"
    assert _write(path, _inventory("a", "b"))
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert not _write(path, _inventory("a", "b"))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_what_other_steps_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    _write(path, _inventory("a"))
    held = json.loads(path.read_text())
    held["kernels"][0] |= {
        "phase2_status": "written", "phase4": {"pr1": None}, "fi_issue_url": None, "mine": [1],
    }  # fmt: skip
    held["a_later_step"] = {"x": None}
    held["kernels"].append({"definition_name": "by_hand", "op_type": "other"})
    path.write_text(json.dumps(held))
    _write(path, _inventory("a", "b"), refresh=True)
    now = json.loads(path.read_text())
    assert now["a_later_step"] == {"x": None}
    assert now["kernels"][0] == held["kernels"][0]
    assert [k["definition_name"] for k in now["kernels"]] == ["a", "by_hand", "b"]


def test_statuses_stay_unless_renewed_and_open_ones_are_filled(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    seen = Evidence(about="flashinfer", text="old", file="f.py", line=1)
    _write(path, _inventory("a", fi_status="fi_missing", evidence=[seen]))
    newer = Evidence(about="flashinfer", text="new", file="f.py", line=2)
    called = Evidence(about="sglang", text="called", file="s.py", line=3)
    found = _inventory(
        "a", fi_status="fi_supported", sgl_status="sgl_integrated", evidence=[newer, called]
    )
    _write(path, found)
    kernel = manifest.load(path).kernels[0]
    assert (kernel.fi_status, kernel.sgl_status) == ("fi_missing", "sgl_integrated")
    assert [e.text for e in kernel.evidence or ()] == ["old", "called"]
    _write(path, found, refresh=True)
    kernel = manifest.load(path).kernels[0]
    assert kernel.fi_status == "fi_supported"
    assert [e.text for e in kernel.evidence or ()] == ["new", "called"]


def test_serving_configurations_are_united(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    _write(path, _inventory("a", serving=["tp:1"]))
    other = _inventory("a", serving=["tp:8"])
    other.serving = [Serving(tp=8, ep=1)]
    _write(path, other)
    held = manifest.load(path)
    assert held.serving == [Serving(tp=1, ep=1), Serving(tp=8, ep=1)]
    assert held.kernels[0].serving == ["tp:1", "tp:8"]


def test_another_model_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    _write(path, _inventory("a"))
    before = path.read_bytes()
    other = manifest.fresh("qwen3-8b")
    with pytest.raises(ConflictError, match="another model"):
        manifest.update(path, lambda held: manifest.merge(held, other))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no run manifest"),
        ("[]", "no run manifest"),
        ('{"model_slug": "x"}', "date"),
        ('{"model_slug": "x", "date": "d", "schema_version": 99}', "newer version"),
        ('{"model_slug": "x", "date": "d", "kernels": [{"op_type": "a"}]}', "definition_name"),
        ('{"model_slug": "x", "date": "d", "kernels": [{"definition_name": "a", "op_type": "b", '
         '"fi_status": "maybe"}]}', "kernels.0.fi_status"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_named_and_left(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        _write(path, _inventory("a"))
    assert path.read_text() == text


def test_a_manifest_by_hand_without_a_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"model_slug": "x", "date": "2026-04-27", "kernels": []}')
    assert manifest.load(path).model_slug == "x"


def test_an_absent_manifest_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="discover_models"):
        manifest.update(tmp_path / "none.json", lambda held: None)


_WRITER = """
import sys, time
from pathlib import Path
from kernelkit.inventory import manifest
path, me = Path(sys.argv[1]), sys.argv[2]
for i in range(int(sys.argv[3])):
    name = f"{me}_{i}"
    def change(held):
        time.sleep(0.003)  # between reading and writing: without the lock, another's entry is lost
        held.kernels = [*held.kernels, manifest.Kernel(definition_name=name, op_type="x")]
    manifest.update(path, change)
"""


def _writer(path: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    words = [sys.executable, "-c", _WRITER, str(path), name, str(count)]
    return subprocess.Popen(words, env=environment)


def test_writers_side_by_side_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    _write(path, _inventory())
    writers = [_writer(path, name, 60) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    names = {kernel.definition_name for kernel in manifest.load(path).kernels}
    assert names == {f"{name}_{i}" for name in "abc" for i in range(60)}


def test_a_killed_writer_leaves_a_whole_manifest(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    _write(path, _inventory())
    for _ in range(3):
        writer = _writer(path, f"k{time.monotonic_ns()}", 10_000)
        held = len(manifest.load(path).kernels)
        deadline = time.monotonic() + 30
        while len(manifest.load(path).kernels) < held + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)
        assert len(manifest.load(path).kernels) >= held + 3
    assert _write(path, _inventory("after"))


def test_a_second_run_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from kernelkit.inventory.locks import run_lock\n"
        "with run_lock(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    words = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match=f"held by process {first.pid}"):
            with run_lock(path):
                pass
        _write(path, _inventory("a"))  # a step by hand may still extend the manifest
        first.kill()
    with run_lock(path):
        pass


def test_the_published_schema_is_that_of_the_models() -> None:
    assert (REFERENCE / "manifest.schema.json").read_text("utf-8") == schema.text()


def test_the_schema_document_names_every_field_and_no_other() -> None:
    text = (REFERENCE / "manifest.md").read_text("utf-8")
    for model in (Manifest, Kernel, Evidence, Serving, manifest.Unmapped):
        section = text.split(f"\n## {model.__name__}\n")[1].split("\n## ")[0]
        rows = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
        assert sorted(rows) == sorted(model.model_fields), model.__name__


def test_the_example_in_the_document_is_a_manifest() -> None:
    text = (REFERENCE / "manifest.md").read_text("utf-8")
    example = text.split("```json\n")[1].split("```")[0]
    found = Manifest.model_validate_json(example)
    assert found.kernels and not found.model_extra
