"""What fresh contents are made of: rolled values, permuted ids, emptied requests, ties."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from kernelkit.ops import family, probing, tables  # noqa: E402
from kernelkit.ops.base import generator  # noqa: E402
from kernelkit.ops.moe.probing import undecided  # noqa: E402


def test_one_request_cannot_be_emptied() -> None:
    assert tables.emptied({"kv_indptr": torch.tensor([0, 7])}, generator(0, "x")) is None
    assert tables.emptied({"kv_indptr": torch.tensor([0, 7, 7])}, generator(0, "x")) is None


def test_unused_slots_are_known() -> None:
    inputs = {
        "kv_indptr": torch.tensor([0, 2, 2, 3]),
        "kv_indices": torch.tensor([4, 1, 2]),
        "kv_last_page_len": torch.tensor([1, 0, 2]),
    }
    positions = tables.paged_positions(inputs, num_pages=5, page_size=2)
    far = probing.FAR
    assert positions.tolist() == [far, far, 2, far, 0, 1, far, far, 0, 1]


def test_rolled_moves_rows_and_columns() -> None:
    value = torch.arange(12.0).view(2, 2, 3)
    found = probing.rolled(value, generator(1, "x"))
    rows = found.view(4, 3)
    shifts = {(r, c) for r in range(1, 4) for c in range(1, 3)
              if torch.equal(value.view(4, 3).roll((r, c), (0, 1)), rows)}  # fmt: skip
    assert len(shifts) == 1
    low = value.to(torch.float8_e4m3fn)
    assert torch.equal(probing.rolled(low, generator(1, "x")).float(), found)
    for shape in ((0, 3), (1, 1), ()):
        assert probing.rolled(torch.ones(shape), generator(1, "x")).shape == shape


def test_mixed_takes_each_column_from_one_of_two_moves() -> None:
    value = torch.arange(640.0).view(10, 64) + 1
    found = probing.mixed(value, generator(1, "x"))
    columns = [column.tolist() for column in found.T]
    rows = [sorted(row.tolist()) for row in value]
    moves = {(r, c) for r in range(1, 10) for c in range(1, 64)
             if any((value.roll((r, c), (0, 1)) == found).all(0))}  # fmt: skip
    whole = [sum(bool((value.roll(m, (0, 1)) == found)[:, j].all()) for j in range(64))
             for m in moves]  # fmt: skip
    assert sum(sorted(whole)[-2:]) == 64 and 8 < sorted(whole)[-2]
    assert all(sorted(row.tolist()) not in rows for row in found)
    assert len({tuple(column) for column in columns}) > 32
    half = value.clamp(max=200).to(torch.float8_e4m3fn)
    assert probing.mixed(half, generator(1, "x")).dtype == torch.float8_e4m3fn
    for shape in ((0, 3), (1, 1), ()):
        assert probing.mixed(torch.ones(shape), generator(1, "x")).shape == shape


def test_a_large_tensor_is_rolled_only(monkeypatch: pytest.MonkeyPatch) -> None:
    value = torch.arange(640.0).view(10, 64)
    monkeypatch.setattr(probing, "MIXED_BYTES", 100)
    moved, rolled = (move(value, generator(1, "x")) for move in (probing.mixed, probing.rolled))
    assert torch.equal(moved, rolled)


def test_permutations_keep_padding() -> None:
    ids = torch.tensor([3, -1, 0, 9, -1], dtype=torch.int32)
    for count in (10, 11, 1000):
        for move in (probing.rotated, probing.scattered):
            found = move(ids, count, generator(count, "x"))
            assert found.dtype == torch.int32 and (found[[1, 4]] == -1).all()
            assert len(set(found.tolist())) == 4 and 0 <= int(found.max()) < count
    everything = probing.scattered(torch.arange(360), 360, generator(0, "x"))
    assert everything.sort().values.tolist() == list(range(360))


@pytest.mark.parametrize(
    ("scores", "top_k", "expected"),
    [
        ([3.0, 2.0, 1.0, 1.0], 2, False),
        ([3.0, 2.0, 2.0, 1.0], 2, True),
        ([3.0, 2.0, 2.0 - 1e-6, 1.0], 2, True),
        ([2.0, 2.0, 1.0, 1.0], 4, False),
    ],
)
def test_ties_at_the_cut_are_seen(scores: list[float], top_k: int, expected: bool) -> None:
    definition = family("moe").definition(
        "fp8_block", "renorm", num_experts=4, top_k=top_k, hidden_size=128, intermediate_size=128
    )
    found = undecided(definition, {"routing_logits": torch.tensor([scores])})
    assert found is not None and found.tolist() == [expected]
