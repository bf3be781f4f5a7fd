"""An entry as TypeScript text, in the style of the file that it goes into."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kernelkit.webmodel.entry import Entry, Module

WIDTH = 100  # an array that is longer than this stands on several lines
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
_NEW_FILE = """\
import type { Model } from "@/lib/schemas"

const models: Model[] = [
ENTRY,
] satisfies Model[]

export default models
"""


@dataclass(frozen=True)
class Style:
    """How a file is written: `indent` stands before an entry, `unit` is one level more."""

    indent: str = "  "
    unit: str = "  "
    quote: str = '"'
    newline: str = "\n"


def new_file(entry: Entry) -> str:
    """A models.ts that holds this entry alone."""
    return _NEW_FILE.replace("ENTRY", f"  {entry_text(entry, Style())}")


def entry_text(entry: Entry, style: Style) -> str:
    """The object from its brace to its brace; the first line has no indent."""
    pad = style.indent + style.unit
    lines = [
        "{",
        f"{pad}id: {text(entry.id, style)},",
        f"{pad}name: {text(entry.name, style)},",
        f"{pad}description: {text(entry.description, style)},",
        f"{pad}modules: {modules_text(entry, style)},",
        f"{style.indent}}}",
    ]
    return style.newline.join(lines)


def modules_text(entry: Entry, style: Style) -> str:
    """The object of all modules; the first line has no indent."""
    pad = style.indent + style.unit
    lines = ["{"]
    for name, module in entry.modules.items():
        lines += _module_lines(name, module, style, pad + style.unit)
    return style.newline.join([*lines, f"{pad}}}"])


def _module_lines(name: str, module: Module, style: Style, pad: str) -> list[str]:
    key = name if _IDENTIFIER.fullmatch(name) else text(name, style)
    inner = pad + style.unit
    lines = [f"{pad}{key}: {{", f"{inner}count: {module.count},"]
    if module.parent is not None:
        lines.append(f"{inner}parent: {text(module.parent, style)},")
    lines.append(f"{inner}type: {text(module.type, style)},")
    return [*lines, *_array_lines("definitions", module.definitions, style, inner), f"{pad}}},"]


def _array_lines(key: str, values: Sequence[str], style: Style, pad: str) -> list[str]:
    items = [text(value, style) for value in values]
    line = f"{pad}{key}: [{', '.join(items)}],"
    if len(items) < 2 or len(line) <= WIDTH:
        return [line]
    return [f"{pad}{key}: [", *(f"{pad}{style.unit}{item}," for item in items), f"{pad}],"]


def text(value: str, style: Style) -> str:
    """A string literal. JSON's escapes are TypeScript's; line separators end no string there."""
    quoted = json.dumps(value, ensure_ascii=False)
    quoted = quoted.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if style.quote == '"':
        return quoted
    return "'" + quoted[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
