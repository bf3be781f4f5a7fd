"""How tensor and expert parallelism divide a model, with SGLang's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernelkit.errors import UsageError


@dataclass(frozen=True)
class Parallelism:
    """Tensor-parallel and expert-parallel size of one serving configuration."""

    tp: int = 1
    ep: int = 1

    def heads(self, count: int, *, what: str) -> int:
        """Heads of one rank. Raises UsageError where tp does not divide them."""
        return _divide(count, self.tp, what=what, option="tp")

    def kv_heads(self, count: int, *, what: str = "KV heads") -> int:
        """KV heads of one rank: replicated, never below one (SGLang's rule for kv < tp)."""
        if count >= self.tp:
            return _divide(count, self.tp, what=what, option="tp")
        if self.tp % count:
            raise UsageError(
                f"{count} {what} cannot be replicated evenly over tp={self.tp}",
                allowed=f"a multiple or a divisor of {count}",
            )
        return 1

    def experts(self, count: int) -> int:
        """Experts of one rank. Raises UsageError where ep does not divide them."""
        return _divide(count, self.ep, what="experts", option="ep")


def parallel_grid(tp_list: Sequence[int], ep_list: Sequence[int]) -> tuple[Parallelism, ...]:
    """Every combination of the two lists."""
    return tuple(Parallelism(tp, ep) for tp in tp_list for ep in ep_list)


def _divide(count: int, size: int, *, what: str, option: str) -> int:
    if count % size:
        raise UsageError(
            f"{what} do not divide by {option}",
            received=f"{count} {what}, {option}={size}",
            allowed=f"{option} among {', '.join(str(n) for n in divisors(count))}",
        )
    return count // size


def divisors(count: int) -> list[int]:
    """All divisors of `count`, ascending."""
    return [n for n in range(1, count + 1) if count % n == 0]
