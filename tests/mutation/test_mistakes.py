"""The runner itself: mistakes are planted, found or not, and the list of harmless ones is true."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
from mistakes import mutants
from planting import plant
from run_mutants import FOLDER, report

ROOT = FOLDER.parents[1]
BENCH = ROOT / "scripts" / "kernelkit" / "bench"
PLAN = json.loads((FOLDER / "plan.json").read_text())
HARMLESS = json.loads((FOLDER / "harmless.json").read_text())

TOY = '''
"""Words are not changed."""
from __future__ import annotations
LIMIT = 3

class Box:
    size: int = 4

def fits(value: int | None, least: int = 0) -> bool:
    if value is None:
        raise ValueError(f"{value + 1}")
    return least < value <= LIMIT and not value == 2
'''


def _changes(source: str) -> set[str]:
    return {mutant.key.split(" | ")[-1] for mutant in mutants(source)}


def test_the_mistakes_of_a_small_module() -> None:
    found = _changes(TOY)
    assert {
        "3 -> 4", "3 -> 2", "4 -> 5", "4 -> 3", "0 -> 1", "0 -> -1",
        "value is None -> value is not None",
        "least < value <= LIMIT -> least <= value <= LIMIT",
        "least < value <= LIMIT -> least < value < LIMIT",
        "not value == 2 -> value == 2", "value == 2 -> value != 2",
        "least < value <= LIMIT and (not value == 2) -> not value == 2",
        "raise ValueError(f'{value + 1}') -> pass",
    } <= found  # fmt: skip
    assert not any("value - 1" in change or "int" in change for change in found)


def test_each_mutant_has_one_mistake_and_a_name_of_its_own() -> None:
    made = list(mutants(TOY))
    texts = [ast.unparse(mutant.tree) for mutant in made]
    assert len({mutant.key for mutant in made}) == len(made) > 15
    assert ast.unparse(ast.parse(TOY)) not in texts and len(set(texts)) == len(texts)
    moved = [mutant.key for mutant in mutants("\n\n" + TOY)]
    assert moved == [mutant.key for mutant in made], "names do not depend on line numbers"


def test_a_planted_mistake_reaches_who_has_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    toy, user = types.ModuleType("toy_module"), types.ModuleType("toy_user")
    toy.__file__ = "toy_module.py"
    exec(compile(TOY, "toy_module.py", "exec"), vars(toy))
    user.fits, user.LIMIT = toy.fits, toy.LIMIT  # type: ignore[attr-defined]
    for name, module in (("toy_module", toy), ("toy_user", user)):
        monkeypatch.setitem(sys.modules, name, module)
    by_change = {mutant.key.split(" | ")[-1]: mutant.tree for mutant in mutants(TOY)}
    assert user.fits(3)
    plant(toy, by_change["least < value <= LIMIT -> least < value < LIMIT"])
    assert not user.fits(3)
    plant(toy, by_change["3 -> 4"])
    assert user.LIMIT == 4 and user.fits(4)
    plant(toy, by_change["4 -> 5"])
    assert toy.Box.size == 5


@pytest.mark.parametrize("module", PLAN)
def test_the_harmless_exist_and_have_reasons(module: str) -> None:
    assert (BENCH / module).is_file() and all((ROOT / test).is_file() for test in PLAN[module])
    keys = {mutant.key for mutant in mutants((BENCH / module).read_text())}
    known = HARMLESS.get(module, {})
    assert sorted(set(known) - keys) == [], "no such mutant: the code has changed"
    assert all(len(reason) > 15 for reason in known.values())


def test_all_of_the_verdict_logic_is_planned() -> None:
    assert set(HARMLESS) <= set(PLAN)
    named = {f"judge/{name}.py" for name in ("compare", "rules", "elements", "table", "lot",
                                             "draws", "topk")}  # fmt: skip
    assert named <= set(PLAN)


def test_what_is_reported() -> None:
    made = [types.SimpleNamespace(key=key, line=3) for key in "abcd"]
    fates = ("killed", "survived", "survived", "no test enters")
    results = [
        types.SimpleNamespace(mutant=mutant, fate=fate)
        for mutant, fate in zip(made, fates, strict=True)
    ]
    found = report("m.py", results, {"a": "killed by now", "b": "does not matter"})
    assert (found["mutants"], found["killed"], found["harmless"]) == (4, 1, 1)
    assert found["surviving"] == ["3: c", "3: d (no test enters)"] and found["stale"] == ["a"]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "run_mutants.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_kills_and_says_so(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = _run("judge/rules.py", "--only", "max([1.0", "--json")
    document = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert document["mutants"] == document["killed"] >= 2 and not document["surviving"]


def test_a_module_that_is_not_planned() -> None:
    done = _run("judge/nothing.py")
    assert done.returncode == 2 and "judge/nothing.py" in done.stderr and not done.stdout
