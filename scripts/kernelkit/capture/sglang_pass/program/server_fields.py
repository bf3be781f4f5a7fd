"""Which engine arguments this SGLang knows; the others are left out and named."""

from __future__ import annotations

import dataclasses
from typing import Any


def accepted(arguments: dict[str, Any], server_args: type) -> tuple[dict[str, Any], list[str]]:
    """The arguments that `server_args` has, and the names of the others.

    ServerArgs is a dataclass in SGLang 0.5.14 and a msgspec Struct in 0.5.23.
    """
    names = set(getattr(server_args, "__struct_fields__", ()))
    if not names:
        names = {field.name for field in dataclasses.fields(server_args)}
    known = {name: value for name, value in arguments.items() if name in names}
    return known, sorted(set(arguments) - names)
