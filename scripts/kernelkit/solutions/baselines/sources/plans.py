"""FlashInfer's plan and run, where plan() is repeated only when what it read has changed.

plan() reads index tensors on the host and waits for the device: it is no part of a step. Who calls
`setup` calls it again whenever their contents change, so an announced plan is taken as it is.
Without `setup`, the tensors are held against copies of those planned for: contents, since an
address says nothing of them.
"""

from collections.abc import Callable
from typing import Any

import torch

WORKSPACE_BYTES = 268435456

Tables = tuple[torch.Tensor, ...]
# Plans the wrapper; the mask of the rows that see no key, or None where every row sees one.
PlanFunction = Callable[[Any, Tables, float], torch.Tensor | None]


class Plan:
    """A wrapper with its workspace, and what it is planned for."""

    def __init__(self, make: Callable[[torch.Tensor], Any], device: torch.device) -> None:
        self.wrapper = make(torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device=device))
        self.tables: Tables = ()
        self.sm_scale = 0.0
        self.announced = False
        self.blind: torch.Tensor | None = None  # mask of the rows that see no key, if any

    def covers(self, tables: Tables, sm_scale: float) -> bool:
        """Whether it is planned for these."""
        if sm_scale != self.sm_scale or [t.shape for t in tables] != [t.shape for t in self.tables]:
            return False
        return self.announced or all(map(torch.equal, tables, self.tables))

    def renew(self, plan: PlanFunction, tables: Tables, sm_scale: float, announced: bool) -> None:
        """Plan anew. The wrapper keeps the tensors that it is given: copies."""
        copies = tuple(table.clone() for table in tables)
        self.blind = plan(self.wrapper, copies, sm_scale)
        self.tables, self.sm_scale, self.announced = copies, sm_scale, announced


class Planner:
    """One plan a device."""

    def __init__(self, make: Callable[[torch.Tensor], Any], plan: PlanFunction) -> None:
        self.make, self.plan = make, plan
        self.plans: dict[torch.device, Plan] = {}

    def announce(self, *tables: torch.Tensor, sm_scale: float) -> None:
        """Plan for tables whose next change will be announced too."""
        with torch.cuda.device_of(tables[0]):
            self._of(tables[0].device).renew(self.plan, tables, float(sm_scale), True)

    def ready(self, *tables: torch.Tensor, sm_scale: float) -> Plan:
        """The plan for these tables."""
        held = self._of(tables[0].device)
        if not held.covers(tables, float(sm_scale)):
            held.renew(self.plan, tables, float(sm_scale), False)
        return held

    def _of(self, device: torch.device) -> Plan:
        if device not in self.plans:
            self.plans[device] = Plan(self.make, device)
        return self.plans[device]


def settled(
    output: torch.Tensor, lse: torch.Tensor, blind: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that see no key are 0 and -inf: FlashInfer leaves some of them unwritten."""
    if blind is not None:
        output.masked_fill_(blind[:, None, None], 0.0)
        lse.masked_fill_(blind[:, None], -torch.inf)
    return output, lse


def nothing(q: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The outputs where there is no key at all, or no query."""
    output = torch.zeros((*q.shape[:2], dim), dtype=q.dtype, device=q.device)
    return output, q.new_full(q.shape[:2], -torch.inf, dtype=torch.float32)


def blind_requests(kv_lens: torch.Tensor) -> torch.Tensor | None:
    """Mask of the requests without keys; None where each has one."""
    blind = kv_lens == 0
    return blind if bool(blind.any()) else None


def blind_rows(qo_indptr: torch.Tensor, kv_lens: torch.Tensor) -> torch.Tensor | None:
    """Mask of the query rows that a bottom-right causal mask leaves no key; None where none is.

    Row i of a request with q_len rows sees kv_len - q_len + i + 1 keys.
    """
    q_lens = torch.diff(qo_indptr)
    request = torch.repeat_interleave(q_lens)
    row = torch.arange(request.shape[0], device=request.device) - qo_indptr[request]
    blind = kv_lens[request] - q_lens[request] + row < 0
    return blind if bool(blind.any()) else None


def kv_lengths(
    kv_indptr: torch.Tensor, last_page_len: torch.Tensor | None, page_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of each request, and of its last page (0 where it has no page); int32.

    last_page_len None: every page is full, as pages of one token are.
    """
    pages = torch.diff(kv_indptr)
    last = page_size if last_page_len is None else last_page_len[: pages.shape[0]]
    last = torch.where(pages > 0, last, 0).to(torch.int32)
    return ((pages - 1).clamp(min=0) * page_size + last).to(torch.int32), last
