"""run_evals.py with stand-ins for agents: one that can, one that is lost, one that does nothing."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import run_evals
from evaluating import agent, workspace
from evaluating.cases import ROOT, Case, cases

STAND_IN = f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).with_name('stand_in.py')))} {{skill}}/{{id}}"  # noqa: E501
ONE = ["--skills", "extract-model-from-hf", "--ids", "1"]


def _run(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run_evals.main([str(word) for word in words])
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def test_an_agent_that_needs_the_playbook(tmp_path: Path) -> None:
    command = f"{STAND_IN} only-with-skill"
    code, out, _ = _run("--agent-cmd", command, *ONE, "--output", tmp_path, "--json")
    result = json.loads(out)
    assert code == 0, result["trials"]
    (row,) = result["summary"]
    assert (row["with"], row["without"], row["uplift"]) == (1.0, 0.0, 1.0)
    assert result == json.loads((tmp_path / "results.json").read_text())
    assert [trial["state"] for trial in result["trials"]] == ["done", "done"]
    page = (tmp_path / "results.md").read_text()
    assert "| extract-model-from-hf | 1 | 100 % | 0 % | 100 % | 1, 0 | 0 |" in page
    assert "model_config.json exists: 0 of them are there" in page
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_an_agent_that_does_nothing(tmp_path: Path) -> None:
    words = ["--agent-cmd", "true", *ONE, "--output", tmp_path, "--modes", "with", "--keep"]
    code, out, _ = _run(*words)
    assert code == 1 and "| all | 1 | 0 % | not run | not run | 0, 0 | 0 |" in out
    assert (tmp_path / "extract-model-from-hf-1-with-1" / "scripts").is_dir()


def test_an_agent_that_hangs_ends_with_its_children(tmp_path: Path) -> None:
    command = f"bash -c 'sleep 3 && touch {tmp_path}/late & echo begun; wait'"
    began = time.monotonic()
    words = ["--agent-cmd", command, *ONE, "--output", tmp_path / "out", "--modes", "with"]
    code, out, _ = _run(*words, "--timeout", 1, "--json")
    assert code == 1
    (trial,) = json.loads(out)["trials"]
    assert trial["state"] == "timeout" and trial["answer"] == "begun\n"
    time.sleep(max(0.0, 3.5 - (time.monotonic() - began)))
    assert not (tmp_path / "late").exists()


def test_an_interrupt_ends_the_agents(tmp_path: Path) -> None:
    """Ctrl-C while two agents run: both end, and so does the runner."""
    script = Path(run_evals.__file__)
    command = f"bash -c 'touch {tmp_path}/begun-$$; sleep 30; touch {tmp_path}/late'"
    words = ["--agent-cmd", command, *ONE, "--jobs", "2", "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, str(script), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 20
    while len(list(tmp_path.glob("begun-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "required"),
        (["--agent-cmd", "no-such-agent"], 3, "not on PATH"),
        (["--agent-cmd", "'/no such/agent' -p"], 3, "/no such/agent"),
        (["--agent-cmd", "an 'open quote"], 2, "No closing quotation"),
        (["--agent-cmd", "true", "--skills", "no-such"], 2, "no such skill"),
        (["--agent-cmd", "true", "--modes", "sideways"], 2, "no such mode"),
        (["--agent-cmd", "true", "--ids", "99"], 4, "no task"),
        (["--agent-cmd", "true", "--output", ROOT / "out" / "evals"], 2, "in the repository"),
    ],
)
def test_what_is_wrong_is_said(words: list[object], code: int, message: str) -> None:
    found, out, err = _run(*words)
    assert (found, out) == (code, "") and message in err
    assert not (ROOT / "out" / "evals").exists()


def test_the_list() -> None:
    code, out, _ = _run("--list", "--json", "--skills", "clone-repos")
    assert code == 0 and [row["case"] for row in json.loads(out)][:2] == [
        "clone-repos/1",
        "clone-repos/2",
    ]  # noqa: E501


CASE = cases("find-sglang-baseline")[0]


@pytest.mark.parametrize("mode", workspace.MODES)
def test_the_folder_gives_nothing_away(mode: str, tmp_path: Path) -> None:
    """No test, no eval, no answer; without the skill no text of ours, but all scripts."""
    folder = tmp_path / "x"
    workspace.prepare(CASE, mode, folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if {"evals", "tests"} & set(path.relative_to(folder).parts)]
    assert not any(CASE.expected_output.encode() in path.read_bytes() for path in files)
    pages = [path for path in files if path.suffix == ".md" and "demo_assets" not in path.parts]
    assert bool(pages) == (mode == workspace.WITH)
    scripts = {path.name for path in (ROOT / "scripts").glob("*.py")}
    assert scripts == {path.name for path in (folder / "scripts").glob("*.py")}
    assert (folder / "sglang_tree" / "sglang").is_dir() and (folder / "config.json").is_file()


def test_a_setup_that_fails_is_no_agent_s_fault(tmp_path: Path) -> None:
    broken = Case("x", 1, "", "", (), ("ls no-such-file",), (), ())
    with pytest.raises(workspace.SetupError, match="no-such-file"):
        workspace.prepare(broken, workspace.WITH, tmp_path / "x")


def test_a_prompt_is_one_word_whatever_it_holds(tmp_path: Path) -> None:
    prompt = 'it\'s "quoted" {folder} $(rm -rf x)\nsecond line'
    case = Case("s", 7, prompt, "", (), (), (), ())
    assert agent.words_of("a -p {prompt} --in={folder} {skill}/{id}", case, tmp_path) == [
        "a", "-p", prompt, f"--in={tmp_path}", "s/7",
    ]  # fmt: skip
    (tmp_path / "work").mkdir()
    assert agent.run("cat", case, tmp_path / "work", 10.0).answer == prompt  # on stdin
