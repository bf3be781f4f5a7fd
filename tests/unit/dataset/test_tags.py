"""The grammar of `fi_api:` tags, and how tags are merged."""

from __future__ import annotations

import pytest

from kernelkit.dataset.tags import fi_api_of, fi_api_tag, merge_tags, normalize_api
from kernelkit.errors import FormatError

DECODE = "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper"


@pytest.mark.parametrize("method", ["", ".run", ".forward"])
def test_round_trip(method: str) -> None:
    tag = fi_api_tag(DECODE + method)
    assert tag == f"fi_api:{DECODE}"
    assert fi_api_of(["model:x", tag]) == fi_api_of([f"fi_api:{DECODE}{method}"]) == DECODE
    assert fi_api_tag(str(fi_api_of([tag]))) == tag
    assert fi_api_of(["model:x"]) is None


@pytest.mark.parametrize("path", ["", "flashinfer", "torch.x", "flashinfer.a b", "flashinfer..x"])
def test_refused(path: str) -> None:
    with pytest.raises(FormatError):
        normalize_api(path)


def test_merge_keeps_order_and_one_status() -> None:
    merged = merge_tags(["status:verified", "model:a"], ["status:unverified", "model:b", "model:a"])
    assert merged == ["status:verified", "model:a", "model:b"]
    assert merge_tags([], ["status:unverified"]) == ["status:unverified"]
