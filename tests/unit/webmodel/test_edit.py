"""models.ts is parsed, and every byte outside the entry stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernelkit.errors import ConflictError, FormatError
from kernelkit.webmodel.edit import CREATED, INSERTED, REPLACED, UNCHANGED, put
from kernelkit.webmodel.entry import Entry, Module
from kernelkit.webmodel.models_file import ModelsFile
from kernelkit.webmodel.syntax import value_of

pytest.importorskip("tree_sitter_typescript", reason="tree-sitter is not installed")

HEAD = b'import type { Model } from "@/lib/schemas"\n'
TAIL = b"export default models\n"


def _read(data: bytes, model_id: str) -> dict[str, object]:
    held = ModelsFile(data, "models.ts").entry(model_id)
    assert held is not None
    return value_of(held.node)


def _insert(data: bytes, entry: Entry) -> bytes:
    """Inserted; the rest, once the entry is cut out again, is what it was but for a comma."""
    edit = put(data, entry, "models.ts")
    assert edit.action == INSERTED
    assert _read(edit.data, entry.id) == entry.as_dict()
    assert set(_added(data, edit.data, entry)) <= set(b", \t\r\n")
    again = put(edit.data, entry, "models.ts")
    assert (again.action, again.data) == (UNCHANGED, edit.data)
    return edit.data


def _added(before: bytes, after: bytes, entry: Entry) -> bytes:
    """What the edit added besides the entry: all bytes of `before` must be there, in order."""
    held = ModelsFile(after, "models.ts").entry(entry.id)
    assert held is not None
    rest = after[: held.node.start_byte] + after[held.node.end_byte :]
    added, at = bytearray(), 0
    for byte in rest:
        if at < len(before) and byte == before[at]:
            at += 1
        else:
            added.append(byte)
    assert at == len(before), before[at:]
    return bytes(added)


def test_insert_into_a_file_full_of_traps(page: bytes, entry: Entry) -> None:
    edited = _insert(page, entry)
    assert edited.replace(edited[_cut(edited, entry)], b"", 1) == page
    file = ModelsFile(edited, "models.ts")
    assert [held.id for held in file.entries] == ["first-model", "second-model", "llama-3.1-8b"]


def _cut(data: bytes, entry: Entry) -> slice:
    """The inserted text: line break, indent, entry, comma."""
    held = ModelsFile(data, "models.ts").entry(entry.id)
    assert held is not None
    return slice(held.node.start_byte - 3, held.node.end_byte + 1)


def test_insert_keeps_the_comment_on_the_last_line(page: bytes, entry: Entry) -> None:
    text = _insert(page, entry).decode()
    assert '} satisfies Model, // trailing words\n  {\n    id: "llama-3.1-8b",' in text
    assert "  },\n  /* the last comment: ] */\n] satisfies Model[]" in text


@pytest.mark.parametrize(
    "array",
    [
        b"[]", b"[\n]", b"[ /* none yet */ ]", b"[\n  // none yet\n]",
        b"[{ id: 'a', modules: {} }]",
        b"[\n  { id: 'a', modules: {} } // no comma\n]", b"[{ id: `a`, modules: {} },]",
        b"[\n\t{\n\t\tid: 'a',\n\t\tmodules: {},\n\t},\n]",
        b"[...others, { id: 'a', modules: {} }]",
        b"[\n  { id: 'a', modules: {} },\n  ...others, // more\n]",
        b"[\n  (<Model>{ id: 'a', modules: {} }) /* c */,\n]", b"[{ id: 'a' }, /* x\n y */ ]",
        b"[\n{\nid: 'a',\nmodules: {} }\n]", b"([{ id: 'a' }] as const)!",
    ],
)  # fmt: skip
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_insert_into_any_array(array: bytes, newline: bytes, entry: Entry) -> None:
    data = HEAD + b"const others: Model[] = []\nconst models = " + array + b";\n" + TAIL
    edited = _insert(data.replace(b"\n", newline), entry)
    if newline == b"\r\n":
        assert edited.count(b"\n") == edited.count(b"\r\n")


def test_insert_follows_the_style(entry: Entry) -> None:
    data = HEAD + b"const models = [\n\t{\n\t\tid: 'a',\n\t\tmodules: {},\n\t},\n]\n" + TAIL
    text = _insert(data, entry).decode()
    assert "\n\t{\n\t\tid: 'llama-3.1-8b',\n" in text
    assert "\n\t\t\tLlamaForCausalLM: {\n\t\t\t\tcount: 1,\n" in text
    assert "    " not in text


@pytest.mark.parametrize(
    "export",
    [
        b"const models = ARRAY\nexport default models", b"export const models: Model[] = ARRAY",
        b"export default ARRAY", b"export default ARRAY satisfies Model[]",
        b"const x = ARRAY\nexport { x as default }",
        b"const x = ARRAY\nconst models = x\nexport default models",
        b"var models = ARRAY; export default (models as Model[])",
        b"const others: Model[] = [];\nconst models = ARRAY\nexport default models;",
        b"const tags = ['a', { name: 'b' }]\nconst m = ARRAY",
    ],
)  # fmt: skip
def test_the_array_is_found(export: bytes, entry: Entry) -> None:
    array = b"[\n  { id: 'a', name: 'A', modules: {} },\n]"
    edited = _insert(HEAD + export.replace(b"ARRAY", array) + b"\n", entry)
    assert len(ModelsFile(edited, "models.ts").entries) == 2


def test_replace_touches_the_modules_alone(page: bytes, entry: Entry) -> None:
    second = replace(entry, id="second-model", name="Second", description="New words.")
    edit = put(page, second, "models.ts")
    assert edit.action == REPLACED
    held = _read(edit.data, "second-model")
    assert held["homepage"] == "https://example.org/second#a}b"
    assert held["modules"] == second.as_dict()["modules"]
    assert held["description"] == "New words."
    start = page.index(b"modules: { Root")
    assert edit.data.startswith(page[: page.index(b'name: "Second"')])
    assert b'homepage: "https://example.org/second#a}b", // a member' in edit.data
    assert edit.data.endswith(page[page.index(b"\n  } satisfies Model,", start) - 1 :])
    assert put(edit.data, second, "models.ts").action == UNCHANGED


def test_equal_values_are_left_in_their_own_form(entry: Entry) -> None:
    modules = "{ Root: { count: 0x1, type: `block`, definitions: [ /* none */ ] } }"
    data = f"export default [{{ modules: {modules}, description: 'd', name: 'n', id: 'x' }}]\n"
    same = Entry("x", "n", "d", {"Root": Module(1, "block")})
    assert put(data.encode(), same, "models.ts").action == UNCHANGED
    more = replace(same, modules={"Root": Module(2, "block")})
    assert put(data.encode(), more, "models.ts").action == REPLACED


def test_a_missing_member_is_added(entry: Entry) -> None:
    data = HEAD + b'const models = [\n  {\n    id: "llama-3.1-8b",\n  },\n]\n' + TAIL
    edit = put(data, entry, "models.ts")
    assert edit.action == REPLACED
    assert _read(edit.data, entry.id) == entry.as_dict()


def test_a_new_file(entry: Entry) -> None:
    for nothing in (None, b"", b"\xef\xbb\xbf\n"):
        edit = put(nothing, entry, "models.ts")
        assert edit.action == CREATED
        assert _read(edit.data, entry.id) == entry.as_dict()
        assert put(edit.data, entry, "models.ts").action == UNCHANGED


def test_odd_words_read_back(page: bytes) -> None:
    words = "a\"b'c`d\\e ${f}\n\u2028\U0001f600 */ // ] }"
    modules = {"Root": Module(1, "block"), "odd-key 1": Module(2, "layer", "Root", (words,))}
    odd = Entry("odd", words, words, modules)
    for data in (page, page.replace(b'id: "', b"id: '").replace(b'-model",', b"-model',")):
        assert _read(put(data, odd, "models.ts").data, "odd") == odd.as_dict()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"const models = [\n  {\n", "line"),
        (b"const models = [{ id: 'a' }\nexport default models\n", "line"),
        (b"export default {}\n", "not one array"), (b"const a = 1\n", "not one array"),
        (b"export default [\xff]\n", "UTF-8"), (b"export default load()\n", "not one array"),
        (b"const a = [{ id: 'x' }]\nconst b = [{ id: 'y' }]\n", "2 arrays"),
        (b"const a = b\nconst b = a\nexport default a\n", "not one array"),
        (b"export default [{ id: 'llama-3.1-8b' }, { 'id': `llama-3.1-8b` }]\n", "several entries"),
    ],
)  # fmt: skip
def test_refused_files(data: bytes, message: str, entry: Entry) -> None:
    with pytest.raises(FormatError, match=message):
        put(data, entry, "models.ts")


@pytest.mark.parametrize(
    "body",
    [
        b"id: 'llama-3.1-8b', ...base", b"id: 'llama-3.1-8b', modules: shared",
        b"id: 'llama-3.1-8b', modules: { ...shared }",
        b"id: 'llama-3.1-8b', modules: make({ a: 1 })",
        b"id: 'llama-3.1-8b', name: `${x}`, modules: {}", b"id: 'llama-3.1-8b', [key]: 1",
    ],
)  # fmt: skip
def test_refused_entries(body: bytes, entry: Entry) -> None:
    with pytest.raises(ConflictError, match="line 1"):
        put(b"export default [{ " + body + b" }]\n", entry, "models.ts")


def test_entries_that_the_array_names_or_spreads(entry: Entry) -> None:
    data = (
        b"const ID = 'llama-3.1-8b'\nconst llama: Model = {\n  id: ID,\n  name: 'L',\n"
        b"  description: 'd',\n  modules: {},\n}\nconst old = [{ id: 'old', modules: {} }]\n"
        b"const models: Model[] = [llama, ...old, imported]\nexport default models\n"
    )
    file = ModelsFile(data, "models.ts")
    assert [held.id for held in file.entries] == ["llama-3.1-8b", "old"]
    edit = put(data, replace(entry, name="L", description="d"), "models.ts")
    assert edit.action == REPLACED
    assert edit.data.endswith(data[data.index(b"\n}\nconst old") - 1 :])
    assert edit.data.startswith(data[: data.index(b"{},")])
    assert put(data, replace(entry, id="old"), "models.ts").action == REPLACED
    inserted = put(data, replace(entry, id="new"), "models.ts").data
    assert b"[llama, ...old, imported,\n  {\n    id: 'new'," in inserted


def test_shorthands_are_no_literals(entry: Entry) -> None:
    data = b"const modules = {}\nexport default [{ id: 'llama-3.1-8b', modules }]\n"
    with pytest.raises(ConflictError, match="modules"):
        put(data, entry, "models.ts")


def test_bytes_at_both_ends_stay(entry: Entry) -> None:
    data = (
        b"\xef\xbb\xbf" + HEAD + b"const models = [{ id: 'a', modules: {} }]\nexport default models"
    )
    edited = _insert(data, entry)
    assert edited.startswith(b"\xef\xbb\xbfimport") and edited.endswith(b"export default models")


def test_a_component_file_is_read_as_one(entry: Entry) -> None:
    data = b"export const icon = <b>{`]`}</b>\nexport default [{ id: 'a', modules: {} }]\n"
    assert put(data, entry, "models.tsx").action == INSERTED
    with pytest.raises(FormatError):
        put(data, entry, "models.ts")
