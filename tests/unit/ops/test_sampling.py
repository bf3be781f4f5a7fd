"""sampling: the distribution by hand, draws by frequency, inputs that are probabilities."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
from specs import DENSE  # noqa: E402

from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.ops.base import generator  # noqa: E402

OP = family("sampling")
ROW = [0.1, 0.4, 0.05, 0.3, 0.15]


def kept(kind: str, row: list[float], k: int, p: float) -> dict[int, float]:
    """Token -> probability after filtering, by the definition of the words."""
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    if "top_k" in kind and 0 < k <= len(row):
        order = order[:k]
    total = sum(row[i] for i in order)
    if "top_p" in kind and p < 1:
        mass, chosen = 0.0, []
        for i in order:
            chosen.append(i)
            mass += row[i] / total
            if mass >= p:
                break
        order = chosen
    total = sum(row[i] for i in order)
    return {i: row[i] / total for i in order if row[i] > 0}


def filtered(kind: str, row: list[float], k: int, p: float) -> dict[int, float]:
    """What the reference draws from."""
    namespace: dict[str, object] = {}
    exec(OP.definition(kind, len(row)).reference, namespace)
    limits = {"top_k": torch.tensor([k]), "top_p": torch.tensor([p])}
    arguments = [limits[name] for name in ("top_k", "top_p") if name in kind]
    values, tokens = namespace["filtered"](torch.tensor([row]), *arguments)
    return {int(t): float(v) for t, v in zip(tokens[0], values[0], strict=True) if v > 0}


@pytest.mark.parametrize("kind", ["top_k", "top_p", "top_k_top_p"])
@pytest.mark.parametrize("k", [0, 1, 2, 3, 5, 6])
@pytest.mark.parametrize("p", [0.0, 0.05, 0.41, 0.75, 0.99, 1.0, 2.0])
def test_distribution(kind: str, k: int, p: float) -> None:
    assert filtered(kind, ROW, k, p) == pytest.approx(kept(kind, ROW, k, p), abs=1e-6)


def test_of_tied_tokens_the_lower_id_is_kept() -> None:
    tied = [0.2, 0.2, 0.2, 0.2, 0.2]
    assert set(filtered("top_k", tied, 3, 1.0)) == {0, 1, 2}
    assert set(filtered("top_p", tied, 0, 0.3)) == {0, 1}
    assert set(filtered("top_p", tied, 0, 0.0)) == {0}


@pytest.mark.parametrize("kind", ["top_k", "top_p", "top_k_top_p"])
def test_draws_follow_the_distribution(kind: str) -> None:
    draws = 40000
    limits = {"top_k": torch.full((draws,), 4), "top_p": torch.full((draws,), 0.8)}
    inputs = {"probs": torch.tensor([ROW]).expand(draws, 5).contiguous()}
    inputs |= {name: limits[name] for name in ("top_k", "top_p") if name in kind}
    torch.manual_seed(0)
    (samples,) = oracle.execute(OP.definition(kind, 5), inputs)
    assert samples.dtype == torch.int64 and samples.shape == (draws,)
    want = kept(kind, ROW, 4, 0.8)
    for token, share in enumerate((torch.bincount(samples, minlength=5) / draws).tolist()):
        assert share == pytest.approx(want.get(token, 0.0), abs=0.012)


def test_inputs_are_probabilities() -> None:
    definition = OP.definition("top_k_top_p", 1000)
    inputs = OP.make_inputs(definition, {"batch_size": 7}, seed=0)
    torch.testing.assert_close(inputs["probs"].sum(dim=1), torch.ones(7))
    assert (inputs["probs"] >= 0).all()
    assert ((inputs["top_k"] >= 1) & (inputs["top_k"] <= 100)).all()
    assert ((inputs["top_p"] > 0) & (inputs["top_p"] <= 1)).all()


def test_names_and_cost() -> None:
    names = {v.definition.name for v in OP.derive(DENSE, Parallelism(tp=8), ())}
    assert names == {f"{kind}_sampling_from_probs_v128256" for kind in
                     ("top_k", "top_p", "top_k_top_p")}  # fmt: skip
    cost = OP.cost(OP.definition("top_p", 10), {"batch_size": 3})
    assert cost.bytes_moved == 3 * 10 * 4 + 3 * 4 + 3 * 8


@pytest.mark.parametrize("kind", ["top_k", "top_p", "top_k_top_p"])
def test_rows_are_drawn_from_their_own_distribution(kind: str) -> None:
    """Each sample has mass under its row's k and p; rows of one token give that token."""
    definition = OP.definition(kind, 300)
    inputs = OP.make_inputs(definition, {"batch_size": 64}, seed=3)
    inputs["probs"][::8] = torch.nn.functional.one_hot(torch.arange(8) * 37, 300).float()
    torch.manual_seed(1)
    (samples,) = oracle.execute(definition, inputs)
    for row, token in enumerate(samples.tolist()):
        k = int(inputs["top_k"][row]) if "top_k" in inputs else 0
        p = float(inputs["top_p"][row]) if "top_p" in inputs else 1.0
        assert token in kept(kind, inputs["probs"][row].tolist(), k, p)
    assert samples[::8].tolist() == [37 * i for i in range(8)]


@pytest.mark.parametrize("kind", ["top_k", "top_p", "top_k_top_p"])
def test_the_generator_decides_the_draw(kind: str) -> None:
    definition = OP.definition(kind, 300)
    inputs = OP.make_inputs(definition, {"batch_size": 64}, seed=3)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(oracle.execute(definition, inputs)[0])
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("vocab", [1, 2, 37])
def test_small_vocabularies(vocab: int) -> None:
    """top_k stays within the vocabulary."""
    definition = OP.definition("top_k_top_p", vocab)
    inputs = OP.make_inputs(definition, {"batch_size": 50}, seed=1)
    assert inputs["top_k"].max() <= vocab and inputs["top_k"].min() >= 1
    (samples,) = oracle.execute(definition, inputs)
    assert ((samples >= 0) & (samples < vocab)).all()


def test_samples_are_compared_as_draws() -> None:
    assert OP.tolerance(OP.definition("top_k", 10)).samples


def test_a_mixed_row_without_its_likely_token_stays_a_distribution() -> None:
    definition = family("sampling").definition("top_p", 64)
    probs = torch.zeros(4, 64)
    probs[:, 5] = 1.0  # one token alone: some mixed rows have none of it
    inputs = {"probs": probs, "top_p": torch.full((4,), 0.9)}
    for seed in range(20):
        found = family("sampling").vary(definition, inputs, generator(seed, "x"))["probs"]
        assert torch.allclose(found.sum(1), torch.ones(4)) and (found >= 0).all()
