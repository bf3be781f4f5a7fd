"""How far a reference is from ground truth, and whether that is too far."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

ROW_ELEMENTS = 16  # fewer say little of a row's scale: smaller rows are taken together
FLOOR = 1 / 16  # of the output's root mean square: no row is taken to be smaller
WORST = 5  # positions shown on failure


@dataclass(frozen=True)
class Tolerance:
    """An element matches where |got - want| <= atol + rtol |want|; atol is at most of_rms times the
    root mean square of its row. matched_ratio of the elements must match, each row's error must be
    within row_error of its norm, and the factor between got and want within gain_error of one."""

    atol: float
    rtol: float
    matched_ratio: float = 1.0
    of_rms: float | None = None
    row_error: float | None = None
    gain_error: float | None = None


def row_width(shape: torch.Size) -> int:
    """Elements of a row: the last axis, or as many trailing axes as ROW_ELEMENTS take."""
    width = 1
    for size in reversed(shape):
        if width >= ROW_ELEMENTS:
            break
        width *= size
    return max(1, width)


def errors_of(
    got: torch.Tensor, want: torch.Tensor, tolerance: Tolerance
) -> tuple[dict[str, float], torch.Tensor]:
    """Metrics of a pair of tensors, and which elements do not match."""
    width = row_width(want.shape)
    got, want = (x.detach().to(torch.float64).reshape(-1, width) for x in (got, want))
    finite = got.isfinite() & want.isfinite()
    stray = ~finite & (got != want)
    a, b = got.where(finite, 0.0), want.where(finite, 0.0)
    error, size = (a - b).abs(), b.abs()
    energy = b.square().sum(dim=1, keepdim=True)
    energy = energy.clamp(min=FLOOR**2 * float(b.square().mean()) * width + 1e-300)
    allowed = torch.full_like(energy, tolerance.atol)
    if tolerance.of_rms is not None:
        allowed = (tolerance.of_rms * (energy / width).sqrt()).clamp(max=tolerance.atol)
    wrong = (error > allowed + tolerance.rtol * size) | stray
    dot, norm = float((a * b).sum()), float(b.square().sum())
    gain = dot / norm if norm else 1.0
    spread = max(0.0, float(error.square().sum()) / norm - (gain - 1.0) ** 2) if norm else 0.0
    relative = error / size.clamp(min=1e-8)
    return {
        "max_abs_error": float(error.max()),
        "mean_abs_error": float(error.mean()),
        "max_rel_error": float(relative.max()),
        "mean_rel_error": float(relative.mean()),
        "cosine": dot / max(1e-300, math.sqrt(norm * float(a.square().sum()))) if norm else 1.0,
        "matched_ratio": 1.0 - float(wrong.double().mean()),
        "row_error": float((error.square().sum(dim=1) / energy[:, 0]).max().sqrt()),
        "gain": gain,
        "gain_noise": math.sqrt(spread / len(b)),
        "stray": float(stray.sum()),
    }, wrong.flatten()


def problems(found: dict[str, float], tolerance: Tolerance) -> list[str]:
    """What is beyond the tolerance, in words."""
    said = []
    if found["matched_ratio"] < tolerance.matched_ratio:
        said.append(f"{found['matched_ratio']:.4%} match, below {tolerance.matched_ratio:.2%}")
    if found["stray"]:
        said.append(f"{found['stray']:.0f} elements are NaN or infinite on one side only")
    if tolerance.row_error is not None and found["row_error"] > tolerance.row_error:
        said.append(f"a row is off by {found['row_error']:.3%}, above {tolerance.row_error:.2%}")
    off = abs(found["gain"] - 1.0) - 3.0 * found["gain_noise"]
    if tolerance.gain_error is not None and off > tolerance.gain_error:
        said.append(f"as a whole {found['gain']:.4f} times the ground truth")
    return said


def worst_positions(
    got: torch.Tensor, want: torch.Tensor, wrong: torch.Tensor
) -> list[tuple[tuple[int, ...], float, float]]:
    """Up to WORST wrong elements with the largest errors: index, got, want."""
    got, want = got.detach().double(), want.detach().double()
    error = (got - want).abs().nan_to_num(nan=math.inf, posinf=math.inf).flatten()
    flat = error.where(wrong, -1.0).topk(min(WORST, int(wrong.sum()))).indices
    places = [tuple(int(i) for i in torch.unravel_index(one, got.shape)) for one in flat]
    return [(place, float(got[place]), float(want[place])) for place in places]


def compare(
    name: str, got: torch.Tensor, want: torch.Tensor, tolerance: Tolerance
) -> dict[str, float]:
    """The metrics of one output. Raises AssertionError, with the worst positions, beyond the
    tolerance."""
    assert got.shape == want.shape, f"{name}: shape {tuple(got.shape)}, not {tuple(want.shape)}"
    if not want.numel():
        return {}
    found, wrong = errors_of(got, want, tolerance)
    said = problems(found, tolerance)
    if said:
        numbers = ", ".join(f"{key} {value:.4g}" for key, value in found.items())
        lines = [f"  at {i}: {a:.6g}, not {b:.6g}" for i, a, b in worst_positions(got, want, wrong)]
        raise AssertionError("\n".join([f"{name}: {'; '.join(said)}", numbers, *lines]))
    return found
