"""Everything outside of the machine that an onboarding talks to, as local stand-ins.

Bare repositories of what phase 0 clones, one for the coverage document, GitHub's client as a
program that records, the hub's cache with the model's config. Nothing leaves the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kernelkit.capture import host as hosts
from kernelkit.errors import MissingDependencyError

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
BENCH_URL = "https://github.com/stand-in/flashinfer-bench.git"
DOCUMENT = "docs/model_coverage.mdx"
LFS_LINE = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
_NO_COMMIT = "0" * 40
_FIND = (
    "import importlib.util as u, json\n"
    "print(json.dumps({n: list(u.find_spec(n).submodule_search_locations)[0]"
    " for n in ('sglang', 'flashinfer')}))"
)
Files = Mapping[str, Path | bytes]


@dataclass(frozen=True)
class Case:
    """A model: how it is called here, its config's file (ORG__NAME.json), and how it is served."""

    name: str
    config: Path
    tp: int = 1
    ep: int = 1

    @property
    def repo_id(self) -> str:
        """On the hub."""
        return self.config.stem.replace("__", "/")


@dataclass(frozen=True)
class World:
    """The folders of one onboarding."""

    root: Path
    case: Case
    environment: dict[str, str]

    @property
    def target(self) -> Path:
        """Where phase 0 puts checkouts."""
        return self.root / "target"

    @property
    def manifest(self) -> Path:
        """Of the run."""
        return self.root / "run.json"

    @property
    def bench(self) -> Path:
        """The checkout with the coverage document."""
        return self.root / "flashinfer-bench"

    def hosted(self, name: str) -> Path:
        """A bare repository: the dataset's and the document's are the model's own."""
        own = name in ("flashinfer-trace", "flashinfer-bench")
        return (self.root if own else self.root.parent) / "hosted" / f"{name}.git"

    def calls(self) -> list[list[str]]:
        """What `gh` was called with."""
        path = self.root / "bin" / "calls.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def git(self, *words: object, at: Path) -> str:
        """The output of a git command. Raises CalledProcessError."""
        command = ["git", "-C", str(at), *map(str, words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=True)
        return done.stdout.decode("utf-8", "surrogateescape")


def host_sources(output: Path, environment: str, cases: list[Case]) -> None:
    """Bare repositories of SGLang, FlashInfer (from the installed packages) and the cookbook."""
    host = hosts.find_host(environment)
    done = subprocess.run([*host.python, "-c", _FIND], env={**os.environ, **host.env},
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode != 0:
        raise MissingDependencyError("SGLang or FlashInfer is not installed", received=done.stderr,
                                     next_step="set PYTHONPATH, or give --env")  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    hosted = output / "hosted"
    sglang = {f"python/{path}": file for path, file in _python_files(found["sglang"]).items()}
    make_bare(hosted / "sglang.git", sglang)
    make_bare(hosted / "flashinfer.git", _python_files(found["flashinfer"]))
    cookbook = {"data/models/generated/v0.5.14/made_up.yaml": _cookbook(cases).encode()}
    make_bare(hosted / "sgl-cookbook.git", cookbook)


def build(output: Path, case: Case, lfs_bin: Path | None) -> World:
    """The model's own part: its dataset, the document's repository, `gh`, a home for git."""
    root = output / case.name
    if root.exists():
        shutil.rmtree(root)
    world = World(root, case, environment(root, lfs_bin))
    attributes = LFS_LINE if has_lfs(world.environment) else "* -text\n"
    readme = b"# A stand-in for the published dataset\n"
    make_bare(world.hosted("flashinfer-trace"), {
        ".gitattributes": attributes.encode(), "README.md": readme, "definitions/.gitkeep": b"",
    })  # fmt: skip
    make_bare(world.hosted("flashinfer-bench"), {DOCUMENT: _document(), "README.md": readme})
    _fill_home(world)
    world.git("clone", "--quiet", world.hosted("flashinfer-bench"), world.bench, at=root)
    world.git("remote", "set-url", "origin", BENCH_URL, at=world.bench)
    return world


def has_lfs(environment: Mapping[str, str]) -> bool:
    """Whether git-lfs is on the path. Without it the stand-in dataset keeps tensors as files."""
    return shutil.which("git-lfs", path=environment["PATH"]) is not None


def make_bare(path: Path, files: Files) -> None:
    """A bare repository with these files in one commit on main."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        shutil.rmtree(path)
    words = ["init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(path)]
    subprocess.run(["git", *words], check=True)
    command = ["git", "-C", str(path), "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        stream = process.stdin
        assert stream is not None
        stream.write(b"commit refs/heads/main\ncommitter Host <host@example.org> 0 +0000\n"
                     b"data 6\nfirst\n\n")  # fmt: skip
        for name, source in files.items():
            content = source if isinstance(source, bytes) else source.read_bytes()
            stream.write(b"M 100644 inline %s\ndata %d\n" % (name.encode(), len(content)))
            stream.write(content + b"\n")
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)


def _python_files(package: str) -> dict[str, Path]:
    """The package's own modules; what it carries of others (`data`) is not read by anybody here."""
    folder = Path(package)
    files = (p for p in sorted(folder.rglob("*.py")) if p.is_file())
    named = {p.relative_to(folder.parent).as_posix(): p for p in files}
    return {name: p for name, p in named.items() if name.split("/")[1] != "data"}


def _cookbook(cases: list[Case]) -> str:
    """Made up: one configuration of each model."""
    rows = [
        {"model_path": case.repo_id, "hardware": {"H200": {"configurations": [
            {"name": case.name, "attributes": {"quantization": "bf16"},
             "engine": {"tp": case.tp, "ep": case.ep}}]}}}
        for case in cases
    ]  # fmt: skip
    return json.dumps({"families": [{"models": rows}]})  # JSON is YAML


def _document() -> bytes:
    """A coverage document that knows another model."""
    return (FIXTURES / "coverage" / "kept_by_hand.mdx").read_bytes()


def environment(root: Path, lfs_bin: Path | None) -> dict[str, str]:
    """Git's settings, the hub's cache and programs of this world alone; no login of the user's."""
    first = [str(root / "bin"), *([str(lfs_bin.resolve())] if lfs_bin else [])]
    author = (("NAME", "Onboarding"), ("EMAIL", "onboarding@example.org"))
    who = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in author}
    drop = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE", "GH_TOKEN")
    kept = {key: value for key, value in os.environ.items() if key not in drop}
    return {
        **kept, **who, "PATH": os.pathsep.join([*first, os.environ["PATH"]]),
        "GIT_CONFIG_GLOBAL": str(root / "gitconfig"), "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_TERMINAL_PROMPT": "0", "HF_HOME": str(root / "hub"), "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


def _fill_home(world: World) -> None:
    """GitHub's URL leads to the bare repository; `gh`; the config in the hub's cache."""
    (world.root / "gitconfig").write_text(
        f'[url "{world.hosted("flashinfer-bench")}"]\n\tinsteadOf = {BENCH_URL}\n'
    )
    program = world.root / "bin" / "gh"
    program.parent.mkdir(parents=True)
    text = (FIXTURES / "programs" / "gh.py").read_text(encoding="utf-8")
    program.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    cache = world.root / "hub" / "hub" / f"models--{world.case.config.stem.replace('__', '--')}"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(_NO_COMMIT)
    snapshot = cache / "snapshots" / _NO_COMMIT
    snapshot.mkdir(parents=True)
    shutil.copyfile(world.case.config, snapshot / "config.json")
