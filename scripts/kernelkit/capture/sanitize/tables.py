"""Page tables and offsets as the calls carry them, cut and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelkit.capture.sanitize.calls import BAD_INDEX, BAD_OFFSETS, EMPTY, TensorArg, Unusable
from kernelkit.capture.sanitize.observed import index

if TYPE_CHECKING:
    import numpy


def offsets(value: TensorArg, name: str, dtype: str = "int32") -> numpy.ndarray:
    """Offsets of requests: 0, ascending. Raises Unusable otherwise, and for no request at all."""
    found = index(value, dtype)
    if found.ndim != 1 or len(found) < 2:
        raise Unusable(EMPTY, f"{name} has shape {list(found.shape)}")
    if found[0] != 0 or (found[1:] < found[:-1]).any():
        raise Unusable(BAD_OFFSETS, f"{name}: {found[:6].tolist()} ...")
    return found


def page_ids(value: TensorArg, indptr: numpy.ndarray, num_pages: int) -> numpy.ndarray:
    """The used part of an index buffer, which may be longer. Raises Unusable for wrong ids."""
    count = int(indptr[-1])
    ids = index(value)
    if ids.ndim != 1 or len(ids) < count:
        raise Unusable(BAD_INDEX, f"{list(ids.shape)} page ids where the offsets need {count}")
    ids = ids[:count]
    if count and (ids.min() < 0 or ids.max() >= num_pages):
        text = f"page ids {ids.min()} to {ids.max()} in a pool of {num_pages} pages"
        raise Unusable(BAD_INDEX, text)
    return ids


def last_page_lens(value: TensorArg, indptr: numpy.ndarray, page_size: int) -> numpy.ndarray:
    """Tokens in each request's last page, 0 where it has none. Raises Unusable."""
    lens = index(value)
    _same_length(lens, indptr, "last page lengths")
    lens = lens.copy()
    lens[indptr[1:] == indptr[:-1]] = 0  # FlashInfer reads none there; any value may stand
    return _checked(lens, indptr, page_size)


def from_lengths(value: TensorArg, indptr: numpy.ndarray, page_size: int) -> numpy.ndarray:
    """The same from the lengths of requests in tokens. Raises Unusable where they disagree."""
    lengths = index(value)
    _same_length(lengths, indptr, "lengths")
    pages = indptr[1:] - indptr[:-1]
    if (-(-lengths // page_size) != pages).any():
        raise Unusable(BAD_INDEX, "the lengths of requests do not fit their numbers of pages")
    return _checked(lengths - (pages - 1).clip(0) * page_size, indptr, page_size)


def _same_length(values: numpy.ndarray, indptr: numpy.ndarray, what: str) -> None:
    if values.shape != (len(indptr) - 1,):
        text = f"{list(values.shape)} {what} for {len(indptr) - 1} requests"
        raise Unusable(BAD_INDEX, text)


def _checked(lens: numpy.ndarray, indptr: numpy.ndarray, page_size: int) -> numpy.ndarray:
    used = lens[indptr[1:] > indptr[:-1]]
    if used.size and (used.min() < 1 or used.max() > page_size):
        text = f"last page lengths {used.min()} to {used.max()} with {page_size} tokens a page"
        raise Unusable(BAD_INDEX, text)
    return lens


def longest(indptr: numpy.ndarray, page_size: int = 1) -> int:
    """An upper bound of the tokens of the longest request."""
    return int((indptr[1:] - indptr[:-1]).max()) * page_size
