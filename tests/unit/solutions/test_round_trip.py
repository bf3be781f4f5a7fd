"""Solution JSON to a folder and back: every field, byte for byte, nothing outside the folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernelkit.dataset.solution import Solution
from kernelkit.errors import ConflictError, FormatError, KernelkitError, UsageError
from kernelkit.solutions import unpack
from kernelkit.solutions.diff import as_text, differences, load_either
from kernelkit.solutions.documents import load, read_object, to_text
from kernelkit.solutions.pack import pack_folder

Document = dict[str, Any]
MakeFolder = Callable[..., Path]


def _unpack(document: Document, folder: Path, *, force: bool = False) -> int:
    return unpack.write(unpack.plan_document(folder, document, force=force))


def _written(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_the_round_trip_is_exact(document: Document, tmp_path: Path) -> None:
    first = _written(tmp_path / "a.json", document)
    assert _unpack(load(first), tmp_path / "folder") == 6
    again = pack_folder(tmp_path / "folder")
    assert again == document
    assert list(again) == list(document)  # the order of keys, too
    assert list(again["spec"]) == list(document["spec"])
    assert (tmp_path / "folder/lib/b.cu").read_bytes() == "// α\r\nint x;\r\n".encode()
    assert read_object(tmp_path / "folder/solution.json")["sources"] == [
        "src/main.py", {"path": "lib/b.cu", "note": [1, 2.5]}, "lib/a.py", "README.md",
        ".hidden/x.txt",
    ]  # fmt: skip
    Solution.model_validate(again)


@pytest.mark.parametrize(
    "change",
    [
        {"description": None},
        {"description": ""},
        {"spec.binding": None},
        {"spec.binding": "tvm-ffi"},
        {"spec.dependencies": []},
        {"spec.destination_passing_style": False},
        {"spec.language": "cuda", "spec.entry_point": "lib/b.cu::x"},
        {"spec.target_hardware": ["cuda"]},
        {"author": "another one"},
        {"sources.1.path": "./lib/b.cu"},
    ],
)
def test_every_field_survives(document: Document, tmp_path: Path, change: Document) -> None:
    for place, value in change.items():
        *way, last = place.split(".")
        inner: Any = document
        for key in way:
            inner = inner[int(key) if key.isdigit() else key]
        inner[int(last) if last.isdigit() else last] = value
    _unpack(document, tmp_path / "folder")
    assert pack_folder(tmp_path / "folder") == document


def test_absent_fields_stay_absent(metadata: Document, tmp_path: Path) -> None:
    document = {**metadata, "sources": [{"path": "main.py", "content": "def run(): ...\n"}]}
    _unpack(document, tmp_path / "folder")
    assert pack_folder(tmp_path / "folder") == document


def test_a_second_unpack_writes_nothing(document: Document, tmp_path: Path) -> None:
    _unpack(document, tmp_path / "folder")
    assert _unpack(document, tmp_path / "folder") == 0


def test_another_version_needs_force(document: Document, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    _unpack(document, folder)
    changed = copy.deepcopy(document)
    changed["sources"][0]["content"] += "\n# more\n"
    with pytest.raises(ConflictError, match=r"another version; received: \S*main\.py; .*--force"):
        _unpack(changed, folder)
    assert pack_folder(folder) == document
    assert _unpack(changed, folder, force=True) == 1
    assert pack_folder(folder) == changed


@pytest.mark.parametrize("force", [False, True])
def test_files_of_something_else_are_never_mixed_in(
    document: Document, tmp_path: Path, force: bool
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "other.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(ConflictError, match=r"something else.*received: other\.py"):
        _unpack(document, folder, force=force)
    assert [path.name for path in folder.iterdir()] == ["other.py"]


def test_a_link_inside_the_target_is_not_followed(document: Document, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (folder / "src").symlink_to(outside)
    with pytest.raises(KernelkitError, match="link"):
        _unpack(document, folder, force=True)
    (folder / "src").unlink()
    (folder / "src").mkdir()
    (outside / "kept.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "src/main.py").symlink_to(outside / "kept.py")
    with pytest.raises(KernelkitError, match="something else stands"):
        _unpack(document, folder, force=True)
    assert (outside / "kept.py").read_text(encoding="utf-8") == "x = 1\n"
    assert [path.name for path in outside.iterdir()] == ["kept.py"]


def test_a_target_that_is_a_file(document: Document, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="the target is a file"):
        _unpack(document, tmp_path / "folder", force=True)


def test_a_source_named_like_the_manifest(metadata: Document, tmp_path: Path) -> None:
    sources = [{"path": "main.py", "content": "def run(): ...\n"},
               {"path": "Solution.json", "content": "{}"}]  # fmt: skip
    with pytest.raises(FormatError, match="the folder's own manifest"):
        _unpack({**metadata, "sources": sources}, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["/abs.py"], "leaves the solution"),
        (["../x.py"], "leaves the solution"),
        (["a/../../x.py"], "leaves the solution"),
        (["a\\b.py"], "backslash or a colon"),
        (["..\\x.py"], "backslash or a colon"),
        (["C:/x.py"], "backslash or a colon"),
        (["C:x.py"], "backslash or a colon"),
        (["a/"], "names a folder"),
        (["."], "names a folder"),
        (["x\0.py"], "control character"),
        (["x\n.py"], "control character"),
        (["n" * 256 + ".py"], "255 bytes"),
        (["./main.py"], "are one file"),
        (["main.py"], "are one file"),
        (["sub//a.py", "sub/a.py"], "are one file"),
        (["MAIN.py"], "are one file"),
        (["é.py", "e\u0301.py"], "are one file"),
        (["main.py/inner.py"], "is a file, and a folder of"),
        (["Main.py/inner.py"], "is a file, and a folder of"),
    ],
)
def test_paths_that_are_refused(
    metadata: Document, tmp_path: Path, paths: list[str], message: str
) -> None:
    sources = [{"path": path, "content": "x = 1\n"} for path in ["main.py", *paths]]
    file = _written(tmp_path / "a.json", {**metadata, "sources": sources})
    with pytest.raises(FormatError, match=message):
        load(file)


@pytest.mark.parametrize("field", ["name", "author", "definition"])
@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("../../x", "has '/'"), ("a\\b", r"has '\\\\'"), ("a:b", "has ':'"), ("a\0b", "has"),
        ("..", "a blank or a dot"), (".", "a blank or a dot"), (" a", "a blank or a dot"),
        ("CON", "device"), ("nul.txt", "device"), ("n" * 231, "longer than"), ("", "1 character"),
    ],
)  # fmt: skip
def test_names_that_are_no_file_names(
    document: Document, tmp_path: Path, field: str, value: str, fault: str
) -> None:
    with pytest.raises(FormatError, match=f"{field}: .*{fault}"):
        load(_written(tmp_path / "a.json", {**document, field: value}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": 1, "name": 2}', "'name' occurs twice"),
        ('{"x": NaN}', "NaN is no JSON number"),
        ('{"x": 1e999}', "1e999 is no JSON number"),
        ('{"name": "a"', "not JSON"),
        ("[]", "not a JSON object"),
        ("[" * 100000, "not JSON"),
        ('{"extra": "\\ud800"}', "surrogates not allowed"),
        ("\udcff", "not JSON"),
    ],
)
def test_files_that_are_no_solution(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError, match=message):
        load(tmp_path / "a.json")


def test_contents_that_are_no_text(metadata: Document, tmp_path: Path) -> None:
    for content, message in (("a\0b", "NUL"), ("\ud800", "not JSON"), ("", "at least 1")):
        sources = [{"path": "main.py", "content": content}]
        with pytest.raises(FormatError, match=message):
            load(_written(tmp_path / "a.json", {**metadata, "sources": sources}))


def test_diff_of_equal_and_other_documents(document: Document, tmp_path: Path) -> None:
    file = _written(tmp_path / "a.json", document)
    _unpack(document, tmp_path / "folder")
    one, two = load_either(file), load_either(tmp_path / "folder")
    assert list(differences(one, two)) == []
    two["spec"]["destination_passing_style"] = False
    two["sources"][2]["content"] = "x = 2\n"
    del two["licence"], two["sources"][3]
    found = list(differences(one, two))
    assert [item.place for item in found] == [
        "spec.destination_passing_style", "licence", "source lib/a.py", "source README.md",
    ]  # fmt: skip
    text = as_text(found)
    assert "spec.destination_passing_style: true -> false" in text
    assert "-x = 1  # no newline at the end (no newline at the end)\n+x = 2" in text
    assert 'source README.md: "present" -> (absent)' in text


def test_diff_shows_line_ends_and_order(document: Document) -> None:
    other = copy.deepcopy(document)
    other["sources"][1]["content"] = "// α\nint x;\r\n"
    assert "-// α \\r\n+// α" in as_text(list(differences(document, other)))
    other = copy.deepcopy(document)
    other["sources"].reverse()
    assert [item.place for item in differences(document, other)] == ["order of sources"]


def test_a_default_that_is_not_written_is_no_difference(metadata: Document, tmp_path: Path) -> None:
    sources = [{"path": "main.py", "content": "def run(): ...\n"}]
    short = _written(tmp_path / "a.json", {**metadata, "sources": sources})
    spec = {**metadata["spec"], "binding": None, "dependencies": [],
            "destination_passing_style": True}  # fmt: skip
    whole = {**metadata, "spec": spec, "description": None, "sources": sources}
    long = _written(tmp_path / "b.json", whole)
    assert list(differences(load_either(short), load_either(long))) == []


def test_the_text_form_is_the_models(document: Document) -> None:
    kept = {key: value for key, value in document.items() if key != "licence"}
    solution = Solution.model_validate(kept)
    assert json.loads(to_text(kept)) == json.loads(solution.to_text())
