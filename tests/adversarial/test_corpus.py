"""The evaluator against our corpus: a part of it on every test run, all of it by run_corpus.py.

Each class runs in few calls of scripts/bench.py. What needs a GPU is skipped here, and said to be.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
if not sys.platform.startswith("linux"):
    pytest.skip("the corpus uses /proc and Linux's system calls", allow_module_level=True)
sys.path.insert(0, str(Path(__file__).parent))

from corpus import malformed, sources  # noqa: E402
from running import campaign, entries, judging, supervisor  # noqa: E402
from running.entries import Corpus, Entry  # noqa: E402
from running.judging import Finding  # noqa: E402
from running.trial import Options  # noqa: E402

CORPUS = entries.own()
OPTIONS = Options(
    timeout=6.0, hang_s=25, memory_mb=128, seconds=0.5, iterations=10, together=64, every=8
)
ON_CUDA = [entry for entry in CORPUS.entries if "cuda" in entry.requires]
FILES = ["mal_truncated", "mal_folder", "mal_content_surrogate", "mal_path_traversal",
         "mal_path_deep", "mal_name_surrogate", "mal_content_syntax", "mal_entry_no_symbol",
         "mal_deep", "mal_not_utf8", "mal_duplicate", "mal_arity", "mal_pipe",
         "fault_workload_truncated", "fault_definition_truncated", "fault_blob_missing",
         "fault_reference_nan"]  # fmt: skip


def _run(corpus: Corpus, chosen: list[Entry], options: Options) -> list[Finding]:
    assert chosen
    return list(campaign.campaign(corpus, chosen, options, print, keep=None))


def _assert_right(findings: list[Finding]) -> None:
    wrong = {finding.id: finding.faults for finding in findings if not finding.right}
    assert not wrong, json.dumps(wrong, indent=1)


QUICK = [entry for entry in CORPUS.runnable("cpu") if entry.quick]


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    """What came of the quick part, in as few calls as may be."""
    chosen = [dataclasses.replace(entry, workloads=entry.workloads[-1:]) for entry in QUICK]
    return {finding.id: finding for finding in _run(CORPUS, chosen, OPTIONS)}


@pytest.mark.parametrize("entry", QUICK, ids=lambda entry: entry.id)
def test_quick_part(findings: dict[str, Finding], entry: Entry) -> None:
    """A time that is credited is looked at again: on busy cores an honest control may be slow once,
    an attack that gains something gains it each time."""
    found = findings[entry.id]
    if found.faults and entry.must == "no_credit":
        alone = dataclasses.replace(entry, workloads=entry.workloads[-1:])
        for _ in range(2):
            (found,) = _run(CORPUS, [alone], OPTIONS)
            if not found.faults:
                break
    assert not found.faults, found.seen


def test_malformed_files_are_refused_alone() -> None:
    assert set(FILES) <= set(CORPUS.malformed)
    _assert_right(list(campaign.malformed(CORPUS, FILES, OPTIONS, print, keep=None)))


@pytest.mark.gpu
@pytest.mark.parametrize("entry", ON_CUDA, ids=lambda entry: entry.id)
def test_on_cuda(entry: Entry) -> None:
    options = Options(device="cuda:0", timeout=30.0)
    _assert_right(_run(CORPUS, [entry], options))


SAMPLE_OPTIONS = Options(timeout=10.0, hang_s=25, memory_mb=128, seconds=0.5, most_mb=2.0,
                         together=64, every=6)  # fmt: skip


@pytest.mark.parametrize("group", ["control", "correctness", "timing", "environment"])
def test_exploit_samples(exploit_samples: Path, group: str) -> None:
    corpus = entries.of_folder(exploit_samples)
    chosen = [entry for entry in corpus.runnable("cpu") if entry.group == group]
    _assert_right(_run(corpus, chosen, SAMPLE_OPTIONS))


def test_malformed_exploit_samples(exploit_samples: Path) -> None:
    corpus = entries.of_folder(exploit_samples)
    found = campaign.malformed(corpus, corpus.malformed, SAMPLE_OPTIONS, print, keep=None)
    _assert_right(list(found))


def test_exploit_samples_that_need_more(exploit_samples: Path) -> None:
    corpus = entries.of_folder(exploit_samples)
    runnable = corpus.runnable("cpu")
    if left := [entry.id for entry in corpus.entries if entry not in runnable]:
        pytest.skip(f"need a GPU or Triton: {', '.join(left)}")


@pytest.mark.gpu
def test_exploit_samples_on_cuda(exploit_samples: Path) -> None:
    corpus = entries.of_folder(exploit_samples)
    _assert_right(_run(corpus, corpus.entries, Options(device="cuda:0", timeout=30.0)))


# The corpus itself, and the runner: a fault must be seen.


def test_every_source_has_an_expectation() -> None:
    ids = [entry.id for entry in CORPUS.entries]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(sources.ids())
    assert all(entry.title for entry in CORPUS.entries)
    for pair in CORPUS.canaries.values():
        assert set(pair) <= set(ids)
    assert {entry.control for entry in CORPUS.entries} <= set(ids)
    assert len([e for e in CORPUS.entries if e.group == "control"]) >= 20


def test_every_source_is_filled_in(tmp_path: Path) -> None:
    names = ("MARKS", "PLACES", "DATASET", "SCRIPTS", "HANG_S", "MEMORY_MB", "SERVERS")
    constants = {name: "1" for name in names}
    for path in sources.ids().values():
        for file in sources.sources(path, constants):
            assert not any(f"@{name}@" in file["content"] for name in names), path
            if file["path"].endswith(".py"):
                compile(file["content"], file["path"], "exec")


def test_malformed_files_can_be_written(tmp_path: Path) -> None:
    for name in malformed.names():
        (tmp_path / name).mkdir()
        malformed.write(name, tmp_path / name)
        assert list((tmp_path / name).iterdir())


def test_a_process_that_is_left_is_seen_and_ended(tmp_path: Path) -> None:
    import os
    import subprocess

    report = tmp_path / "report.json"
    command = ["sh", "-c", "setsid sleep 60 & exit 1"]
    subprocess.run(
        [sys.executable, supervisor.__file__, str(report), "20", "--", *command], check=True
    )
    found = json.loads(report.read_text())
    assert found["code"] == 1
    (left,) = found["leftovers"]
    assert "sleep 60" in left
    with pytest.raises(ProcessLookupError):
        os.kill(int(left.split()[0]), 0)


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    import subprocess

    report = tmp_path / "report.json"
    subprocess.run(
        [sys.executable, supervisor.__file__, str(report), "0.5", "--", "sleep", "60"], check=True
    )
    assert json.loads(report.read_text())["code"] is None


def _evaluation(status: str, latency_ms: float = 1.0, log: str = "") -> dict[str, Any]:
    performance = {"latency_ms": latency_ms} if status == "PASSED" else None
    return {"status": status, "log": log, "performance": performance}


@pytest.fixture
def grounds(tmp_path: Path) -> Any:
    """Folders of a run in which nothing has run."""
    from running.grounds import Grounds

    made = Grounds(tmp_path / "run", hang_s=1, memory_mb=1)
    made.watch()
    yield made
    made.servers.stop()


def _judged(must: str, own: dict[str, Any], **changes: Any) -> list[str]:
    from running.trial import AFTER, BAD, BEFORE, Ran

    entry = Entry("e", "timing", "rmsnorm_h128", must, workloads=("w",), timing="w",
                  control="c", **changes)  # fmt: skip
    traces = {
        "e": {"w": own},
        f"{BEFORE}_rmsnorm_h128": {"w": _evaluation("PASSED")},
        "e__control": {"w": _evaluation("PASSED")},
        f"e{AFTER}": {"w": _evaluation("PASSED")},
        f"e{BAD}": {"w": _evaluation("INCORRECT_NUMERICAL")},
    }
    return judging.judge(entry, Ran(0, 1.0, [], traces), "e").faults


@pytest.mark.parametrize(
    ("must", "own", "faults"),
    [
        ("pass", _evaluation("PASSED"), 0),
        ("pass", _evaluation("INCORRECT_NUMERICAL"), 1),
        ("reject", _evaluation("PASSED"), 1),
        ("reject", _evaluation("INCORRECT_SHAPE"), 0),
        ("no_credit", _evaluation("PASSED", 0.9), 0),
        ("no_credit", _evaluation("PASSED", 0.5), 1),
        ("no_credit", _evaluation("PASSED", float("nan")), 1),
        ("no_credit", _evaluation("TIMEOUT"), 0),
        ("survive", _evaluation("TIMEOUT"), 0),
        ("survive", _evaluation("COMPILE_ERROR"), 1),
        ("survive", _evaluation("PASSED", log="text\nMARK secret_read; x\n"), 1),
        ("policy", _evaluation("PASSED", log="text\nMARK dataset_read; x\n"), 0),
    ],
)
def test_verdicts_of_the_runner(grounds: Any, must: str, own: dict[str, Any], faults: int) -> None:
    assert len(_judged(must, own)) == faults


def test_marks_and_changes_are_seen(grounds: Any) -> None:
    (grounds.marks / "reached.mark").write_text("x")
    (grounds.places / "victim" / "token").write_text("changed")
    (grounds.temporary / "kernelkit-left").mkdir()
    with socket.create_connection(grounds.servers.sockets["tcp"].getsockname()) as end:
        end.send(b"x")
        assert end.recv(1) == b"y"
    assert grounds.found_marks() == {"reached", "reached_tcp"}
    assert grounds.changes() == [
        "changed: places/victim/token",
        "left in the temporary folder: kernelkit-left",
    ]
