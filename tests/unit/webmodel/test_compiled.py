"""What we write compiles against the web interface's types, and runs to what the report says.

The TypeScript compiler is taken from PATH, else installed by npm into a temporary folder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kernelkit.models.load import load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.webmodel.edit import put
from kernelkit.webmodel.entry import Entry
from kernelkit.webmodel.generate import Wanted, generate
from kernelkit.webmodel.mapping import Sizes

pytest.importorskip("tree_sitter_typescript", reason="tree-sitter is not installed")

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "fixtures" / "configs").glob("*.json"))
# The shape of the page's own types: zod's `z.infer` of them is this.
TYPES = """
export type Module = {
  count: number
  parent?: string | undefined
  type: "block" | "layer"
  definitions?: string[] | undefined
}
export type Model = {
  id: string
  name: string
  description?: string | undefined
  homepage?: string
  modules: Record<string, Module>
}
"""
PROJECT = {
    "compilerOptions": {
        "strict": True, "target": "es2022", "module": "esnext", "moduleResolution": "bundler",
        "paths": {"@/lib/schemas": ["./schemas.ts"]}, "outDir": "js", "rootDir": ".", "types": [],
    },
    "files": ["models.ts"],
}  # fmt: skip


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of the TypeScript compiler."""
    node, found, npm = shutil.which("node"), shutil.which("tsc"), shutil.which("npm")
    if node is None:
        pytest.skip("no node: TypeScript is not compiled")
    if found is not None:
        return [found]
    folder = tmp_path_factory.mktemp("typescript")
    if npm is not None:
        words = ["install", "--prefix", str(folder), "--no-audit", "--no-fund", "--fetch-retries=0",
                 "--fetch-timeout=20000", "typescript@>=5.4"]  # fmt: skip
        done = subprocess.run([npm, *words], capture_output=True, text=True, timeout=120)
        if done.returncode == 0:
            return [str(folder / "node_modules" / ".bin" / "tsc")]
    pytest.skip("no tsc, and npm cannot install it: TypeScript is not compiled")


def _project(folder: Path, data: bytes) -> None:
    (folder / "models.ts").write_bytes(data)
    (folder / "schemas.ts").write_text(TYPES)
    (folder / "tsconfig.json").write_text(json.dumps(PROJECT))
    (folder / "package.json").write_text('{"type": "module"}')


def _compile(compiler: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [*compiler, "-p", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def _run(folder: Path) -> list[dict[str, Any]]:
    """The default export, as node sees it."""
    code = "import('./js/models.js').then((m) => console.log(JSON.stringify(m.default)))"
    command = ["node", "--input-type=module", "-e", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _entries(paths: list[Path]) -> list[Entry]:
    wanted = Wanted(Sizes((Parallelism(),)))
    made = {path: generate(load_model(None, None, path), wanted).entry for path in paths}
    return list({entry.id: entry for entry in made.values()}.values())


def _check(compiler: list[str], folder: Path, data: bytes | None, entries: list[Entry]) -> Any:
    for entry in entries:
        data = put(data, entry, "models.ts").data
    assert data is not None
    _project(folder, data)
    done = _compile(compiler, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    found = _run(folder)
    by_id = {model["id"]: model for model in found}
    assert [by_id[entry.id] for entry in entries] == [entry.as_dict() for entry in entries]
    return found


def test_some_fixtures_in_a_new_file(compiler: list[str], tmp_path: Path) -> None:
    entries = _entries(CONFIGS[::6])
    assert len(_check(compiler, tmp_path, None, entries)) == len(entries)


def test_every_fixture_in_a_file_full_of_traps(
    compiler: list[str], tmp_path: Path, page: bytes
) -> None:
    entries = _entries(CONFIGS)
    assert len(entries) >= 20
    found = _check(compiler, tmp_path, page, entries)
    assert len(found) == len(entries) + 2
    assert found[0]["modules"]["attn"]["count"] == 32
    assert found[0]["name"] == 'It\'s the "first"'


def test_every_config_at_hand(compiler: list[str], tmp_path: Path, extra: Path) -> None:
    paths = sorted((extra / "data" / "model_configs").glob("*__*.json"))
    _check(compiler, tmp_path, None, _entries(paths))


def test_the_compiler_would_refuse_a_wrong_entry(compiler: list[str], tmp_path: Path) -> None:
    data = put(None, _entries(CONFIGS[:1])[0], "models.ts").data
    _project(tmp_path, data.replace(b'type: "layer"', b'type: "kernel"', 1))
    assert _compile(compiler, tmp_path).returncode != 0
