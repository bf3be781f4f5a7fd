"""Folders become Solutions: what is packed, what is refused, constants of the definition."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.errors import ConflictError, FormatError, NothingSelectedError, UsageError
from kernelkit.ops import gemm, rmsnorm
from kernelkit.solutions.pack import folders, pack, pack_folder
from kernelkit.solutions.publish import pack_into

ASSETS = Path(__file__).resolve().parents[3] / "scripts" / "demo_assets" / "solutions"
RUN = "def run(a, b):\n    return a\n"
PATTERNS = {"name": "a_{definition}", "definitions": ["gemm_*"]}
MakeFolder = Callable[..., Path]


def _paths(document: dict[str, Any]) -> list[str]:
    return [source["path"] for source in document["sources"]]


def test_bundled_solutions_take_the_definitions_epsilon() -> None:
    definition = rmsnorm.FAMILY.definition(4096, 1e-5)
    ((found, solution),) = pack(ASSETS / "rmsnorm", [definition, gemm.FAMILY.definition(8, 8)])
    assert found is definition
    assert solution.name == "torch_rmsnorm_h4096"
    assert "\nEPS = 1e-05\n" in solution.sources[0].content
    assert solution.spec.entry_point == "main.py::run"
    assert not solution.spec.destination_passing_style


def test_every_bundled_folder_packs() -> None:
    assert len(folders(ASSETS)) == 6
    for folder in folders(ASSETS):
        compile((folder / "main.py").read_text(encoding="utf-8"), "main.py", "exec")


def test_const_axes_are_constants_too(make_folder: MakeFolder) -> None:
    folder = make_folder(
        PATTERNS, {"main.py": f"N = 0\nK = (0)\n{RUN}", "x.cu": "constexpr int N = 0;"}
    )  # noqa: E501
    ((_, solution),) = pack(folder, [gemm.FAMILY.definition(8, 16)])
    assert solution.sources[0].content.startswith("N = 8\nK = (16)\n")
    assert solution.sources[1].content == "constexpr int N = 8;"


def test_what_is_packed_and_what_is_not(make_folder: MakeFolder, metadata: dict[str, Any]) -> None:
    folder = make_folder(metadata, {
        "main.py": RUN, "deep/kernel.py": "x = 1\n", "deep/README.md": "packed\n",
        "README.md": "", ".env": "", ".git/config": "", "__pycache__/main.pyc": b"\0",
        "deep/__pycache__/k.pyc": b"\0",
    })  # fmt: skip
    assert _paths(pack_folder(folder)) == ["deep/README.md", "deep/kernel.py", "main.py"]


def test_listed_sources_come_first_in_their_order(
    make_folder: MakeFolder, metadata: dict[str, Any]
) -> None:
    listed = ["z.py", {"path": "README.md", "kind": "text"}]
    files = {"main.py": RUN, "z.py": "x = 1\n", "README.md": "# x\n", "a.py": "x = 1\n"}
    packed = pack_folder(make_folder({**metadata, "sources": listed}, files))
    assert _paths(packed) == ["z.py", "README.md", "a.py", "main.py"]
    assert packed["sources"][1] == {"path": "README.md", "content": "# x\n", "kind": "text"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ["absent.py"]}, "is absent"),
        ({"sources": ["../x.py"]}, "leaves the solution"),
        ({"sources": ["/etc/hostname"]}, "leaves the solution"),
        ({"sources": ["main.py", "./main.py"]}, "are one file"),
        ({"sources": [{"path": "main.py", "content": "x"}]}, "content in the manifest"),
        ({"sources": [1]}, "list of paths"),
        ({"sources": "main.py"}, "list of paths"),
        ({"name": "../x"}, "file name"),
        ({"author": "a/b"}, "file name"),
        ({"author": None}, "author"),
        ({"spec": {}}, "spec.language"),
    ],
)
def test_bad_metadata(
    make_folder: MakeFolder, metadata: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    folder = make_folder({**metadata, **changes}, {"main.py": RUN})
    with pytest.raises(FormatError, match=message):
        pack_folder(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"other.py": RUN}, "entry file 'main.py' is not among the sources"),
        ({"main.py": "def walk(): ...\n"}, "defines no 'run'"),
        ({"main.py": "class A:\n    def run(self): ...\n"}, "defines no 'run'"),
        ({"main.py": "def run(:\n"}, "main.py: .*syntax"),
        ({"main.py": RUN, "lib.py": "def f(:\n"}, "lib.py: .*syntax"),
        ({"main.py": b"def run(): ...  # \xff\n"}, "not UTF-8"),
        ({"main.py": RUN, "data.bin": b"a\0b"}, "NUL"),
        ({"main.py": RUN, "__init__.py": ""}, "is empty.*put a comment"),
        ({"main.py": RUN, "a\\b.py": "x = 1\n"}, "backslash"),
        ({"main.py": RUN, "Main.py": "x = 1\n"}, "are one file"),
    ],
)
def test_bad_sources(
    make_folder: MakeFolder, metadata: dict[str, Any], files: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=f"(?i){message}"):
        pack_folder(make_folder(metadata, files))


@pytest.mark.parametrize(
    "text",
    ["from .lib import run\n", "run = print\n", "class run: ...\n", "if 1:\n    def run(): ...\n"],
)
def test_an_entry_point_may_be_bound_in_other_ways(
    make_folder: MakeFolder, metadata: dict[str, Any], text: str
) -> None:
    if text.startswith("if"):  # a definition inside a branch is not at top level
        with pytest.raises(FormatError, match="defines no 'run'"):
            pack_folder(make_folder(metadata, {"main.py": text}))
    else:
        assert _paths(pack_folder(make_folder(metadata, {"main.py": text}))) == ["main.py"]


def test_the_entry_point_of_compiled_code(
    make_folder: MakeFolder, metadata: dict[str, Any]
) -> None:
    spec = {**metadata["spec"], "language": "cuda", "entry_point": "k.cu::run"}
    folder = make_folder({**metadata, "spec": spec}, {"k.cu": "void walk() {}\n"})
    with pytest.raises(FormatError, match="defines no 'run'"):
        pack_folder(folder)
    (folder / "k.cu").write_text("void run() {}\n", encoding="utf-8")
    assert _paths(pack_folder(folder)) == ["k.cu"]


def test_links(make_folder: MakeFolder, metadata: dict[str, Any], tmp_path: Path) -> None:
    folder = make_folder(metadata, {"main.py": RUN, "real/a.py": "x = 1\n"})
    (folder / "b.py").symlink_to("real/a.py")
    assert _paths(pack_folder(folder)) == ["b.py", "main.py", "real/a.py"]
    (tmp_path / "secret.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "c.py").symlink_to(tmp_path / "secret.py")
    with pytest.raises(FormatError, match="a link leaves the folder"):
        pack_folder(folder)
    (folder / "c.py").unlink()
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(FormatError, match="linked folder"):
        pack_folder(folder)


def test_what_is_no_regular_file(make_folder: MakeFolder, metadata: dict[str, Any]) -> None:
    folder = make_folder(metadata, {"main.py": RUN})
    os.mkfifo(folder / "pipe.py")
    with pytest.raises(FormatError, match="no regular file"):
        pack_folder(folder)
    (folder / "pipe.py").unlink()
    (folder / "dangling.py").symlink_to("absent.py")
    with pytest.raises(FormatError, match="is absent"):
        pack_folder(folder)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"name": "a"}, "needs the keys"),
        ([], "not a JSON object"),
        ({"name": "a", "definitions": ["*"], "nmae": 1}, "unknown keys"),
        ({"name": "a", "definitions": "gemm_*"}, "list of patterns"),
        ({"name": 1, "definitions": ["*"]}, "name must be text"),
        ({"name": "a", "definitions": ["*"], "entry_point": "other.py::run"}, "not a solution"),
        ({"name": "a", "definitions": ["*"], "language": "basic"}, "not a solution"),
        ({"name": "a", "definitions": ["*"], "entry_point": "main.py::go"}, "defines no 'go'"),
    ],
)
def test_bad_manifests(make_folder: MakeFolder, manifest: object, message: str) -> None:
    folder = make_folder(manifest, {"main.py": RUN})
    with pytest.raises(FormatError, match=message):
        list(pack(folder, [gemm.FAMILY.definition(8, 8)]))


def test_folders_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        folders(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"no solution\.json"):
        folders(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        pack_folder(tmp_path)


def test_a_folder_of_patterns_needs_a_dataset(make_folder: MakeFolder) -> None:
    with pytest.raises(UsageError, match="--dataset"):
        pack_folder(make_folder(PATTERNS, {"main.py": RUN}))


def test_a_solution_inside_a_solution_is_not_one_of_its_own(
    make_folder: MakeFolder, metadata: dict[str, Any]
) -> None:
    folder = make_folder(metadata, {"main.py": RUN, "sub/solution.json": "{}\n"})
    assert folders(folder) == [folder]


def test_a_bad_folder_hides_no_other(
    make_folder: MakeFolder, metadata: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    definition = gemm.FAMILY.definition(8, 8)
    dataset.write_definition(definition)
    make_folder({**metadata, "definition": definition.name}, {"main.py": "def run(:"}, "all/bad")
    make_folder({**metadata, "definition": definition.name}, {"main.py": RUN}, "all/good")
    make_folder(PATTERNS, {"main.py": RUN}, "all/pattern")
    done = pack_into(dataset, tmp_path / "all", None, dry_run=False)
    assert done.names == ["n", f"a_{definition.name}"] and done.written == 2
    assert len(done.errors) == 1 and "all/bad" in done.errors[0]
    assert {s.name for s in dataset.solutions_of(definition)} == set(done.names)
    assert pack_into(dataset, tmp_path / "all" / "good", None, dry_run=False).written == 0


def test_a_name_is_taken_once(
    make_folder: MakeFolder, metadata: dict[str, Any], dataset: Dataset
) -> None:
    definition = gemm.FAMILY.definition(8, 8)
    dataset.write_definition(definition)
    manifest = {**metadata, "definition": definition.name}
    folder = make_folder(manifest, {"main.py": RUN})
    pack_into(dataset, folder, None, dry_run=False)
    other = make_folder({**manifest, "author": "b"}, {"main.py": RUN}, "other")
    with pytest.raises(ConflictError, match=r"another solution of this name; received: \S+n\.json"):
        pack_into(dataset, other, None, dry_run=False)


def test_nothing_that_matches(
    make_folder: MakeFolder, metadata: dict[str, Any], dataset: Dataset
) -> None:
    dataset.write_definition(gemm.FAMILY.definition(8, 8))
    with pytest.raises(NothingSelectedError):
        pack_into(dataset, make_folder(metadata, {"main.py": RUN}), None, dry_run=False)
