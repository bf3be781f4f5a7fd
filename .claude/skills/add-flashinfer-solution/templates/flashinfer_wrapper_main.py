"""GQA decode through FlashInfer's BatchDecodeWithPagedKVCacheWrapper, planned in `setup`.

plan() reads the page tables on the host, so it waits for the device; it is no part of a decode
step. Who calls `setup` calls it again whenever the contents of the tables change: `run` then takes
the plan as it is, and waits for nothing. Without `setup`, `run` holds the tables against copies
that the plan keeps (contents, since an address says nothing of them), and plans where they differ.

FlashInfer's log-sum-exp is in base 2, as the definition's. It leaves the rows of empty requests
unwritten, so they are set here. The softmax scale goes in as `q_scale`: plan() would fix it.
"""

import math

import torch
from flashinfer.decode import BatchDecodeWithPagedKVCacheWrapper

NUM_QO_HEADS = 32
NUM_KV_HEADS = 8
HEAD_DIM = 128
PAGE_SIZE = 1
WORKSPACE_BYTES = 134217728  # what FlashInfer recommends
TENSOR_CORE_GROUP = 4  # from so many query heads for each KV head on, tensor cores are faster


class Planned:
    """A device's wrapper with its workspace, and the page tables that it is planned for."""

    def __init__(self, device: torch.device) -> None:
        workspace = torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device=device)
        group = NUM_QO_HEADS // NUM_KV_HEADS
        self.wrapper = BatchDecodeWithPagedKVCacheWrapper(
            workspace, "NHD", use_tensor_cores=group >= TENSOR_CORE_GROUP
        )
        self.tables: list[torch.Tensor] = []  # copies of those planned for
        self.announced = False  # whether `setup` answers for them
        self.empty: torch.Tensor | None = None  # mask of the requests without tokens, if any

    def plan(self, *tables: torch.Tensor, announced: bool) -> None:
        """Plan for kv_indptr and kv_indices. The wrapper keeps what it is given: the copies."""
        copies = [table.clone() for table in tables]
        counts = torch.diff(copies[0])
        last_page_len = counts.clamp(max=PAGE_SIZE)  # 1; 0 for an empty request
        self.wrapper.plan(
            *copies,
            last_page_len,
            NUM_QO_HEADS,
            NUM_KV_HEADS,
            HEAD_DIM,
            PAGE_SIZE,
            q_data_type=torch.bfloat16,
            kv_data_type=torch.bfloat16,
            sm_scale=1.0,
        )
        self.tables, self.announced = copies, announced
        self.empty = counts == 0 if bool((counts == 0).any()) else None

    def covers(self, *tables: torch.Tensor) -> bool:
        """Whether the plan is for these tables."""
        if [table.shape for table in tables] != [copy.shape for copy in self.tables]:
            return False
        return self.announced or all(map(torch.equal, tables, self.tables))


PLANNED: dict[torch.device, Planned] = {}


def planned(device: torch.device) -> Planned:
    """The device's wrapper, made once."""
    if device not in PLANNED:
        PLANNED[device] = Planned(device)
    return PLANNED[device]


@torch.no_grad()
def setup(kv_indptr: torch.Tensor, kv_indices: torch.Tensor) -> None:
    """Plan for page tables: before the first run on them, and whenever their contents change."""
    if kv_indices.shape[0]:
        with torch.cuda.device_of(kv_indices):
            planned(kv_indices.device).plan(kv_indptr, kv_indices, announced=True)


@torch.no_grad()
def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [b, h, d], caches [pages, 1, kv, d] (NHD) -> output [b, h, d], lse [b, h] float32."""
    if not kv_indices.shape[0]:
        return torch.zeros_like(q), q.new_full(q.shape[:2], -math.inf, dtype=torch.float32)
    with torch.cuda.device_of(q):
        current = planned(q.device)
        if not current.covers(kv_indptr, kv_indices):
            current.plan(kv_indptr, kv_indices, announced=False)
        output, lse = current.wrapper.run(
            q, (k_cache, v_cache), q_scale=float(sm_scale), return_lse=True
        )
        if current.empty is not None:
            output.masked_fill_(current.empty[:, None, None], 0.0)
            lse.masked_fill_(current.empty[:, None], -math.inf)
    return output, lse
