"""The grammar of tags: `key:value`, and the one place where `fi_api:` is written and read.

`fi_api:` names the FlashInfer API as a dotted path without the method `run`, e.g.
`fi_api:flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper`. Tools that match a recorded call
against a definition compare the last component; a tag that ends in `.run` would match every
wrapper or none, so it is normalised away when written and when read.
"""

from __future__ import annotations

import re

from kernelkit.errors import FormatError

_API = re.compile(r"flashinfer(\.[A-Za-z_]\w*)+")
_DROPPED_METHODS = ("run", "forward", "__call__")


def fi_api_tag(path: str) -> str:
    """The tag of a FlashInfer API. Raises FormatError on a path that is none."""
    return f"fi_api:{normalize_api(path)}"


def fi_api_of(tags: list[str]) -> str | None:
    """The normalised API path of a definition's tags, or None. Raises FormatError."""
    for tag in tags:
        if tag.startswith("fi_api:"):
            return normalize_api(tag.removeprefix("fi_api:"))
    return None


def normalize_api(path: str) -> str:
    """A dotted API path without a trailing method. Raises FormatError."""
    if not _API.fullmatch(path):
        raise FormatError(
            "not a FlashInfer API path", received=path, allowed="flashinfer.<module>.<Name>"
        )
    parts = path.split(".")
    if parts[-1] in _DROPPED_METHODS and len(parts) > 2:
        parts.pop()
    return ".".join(parts)


def merge_tags(existing: list[str], added: list[str]) -> list[str]:
    """Existing tags in their order, then the new ones.

    One `status:` only: an existing status stays, because another definition's writer cannot know
    what verified this one.
    """
    has_status = any(tag.startswith("status:") for tag in existing)
    wanted = [tag for tag in added if not (has_status and tag.startswith("status:"))]
    return list(dict.fromkeys([*existing, *wanted]))
