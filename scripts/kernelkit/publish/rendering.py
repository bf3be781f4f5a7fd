"""Documents from `templates/`."""

from __future__ import annotations

import re
from typing import Any

from kernelkit import places


def render(template: str, **values: Any) -> str:
    """One template as Markdown; a value that it names and does not get is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(places.DOCUMENTS), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, autoescape=False,  # it renders Markdown; cells pass `cell`
    )  # fmt: skip
    made.filters["cell"] = cell
    text = made.get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def cell(value: object) -> str:
    """One cell of a table: one line, no bar, nothing that Markdown would take for HTML."""
    text = " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
