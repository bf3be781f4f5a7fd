"""The mistakes of attention wrappers, the likeliest first, as knobs of attention.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor.mutant import Mutant, table

Row = tuple[str, str, str, Mapping[str, Any]]

LSE: list[Row] = [
    ("lse-base-e", "the log-sum-exp is a natural logarithm, the definition wants base 2",
     "multiply the LSE by log2(e) = 1.442695, i.e. divide it by math.log(2)", {"lse": "natural"}),
    ("lse-without-scale", "the log-sum-exp is of the logits before sm_scale",
     "take the LSE of q.k * sm_scale", {"lse": "unscaled"}),
    ("lse-without-maximum", "the row maximum that softmax subtracted is not added back to the LSE",
     "lse = maximum + log(sum), both in base 2", {"lse": "no-maximum"}),
    ("lse-is-maximum", "the LSE output holds the row maximum only",
     "add log2 of the sum of exponentials", {"lse": "maximum"}),
    ("lse-mixed-bases", "the LSE adds a maximum in nats to a sum in bits",
     "convert both: (maximum + log(sum)) * log2(e)", {"lse": "mixed"}),
    ("lse-mixed-bases", "the LSE adds a maximum in bits to a sum in nats",
     "convert both: (maximum + log(sum)) * log2(e)", {"lse": "mixed-other"}),
    ("lse-base2-twice", "the LSE is converted to base 2 twice",
     "the kernel gives base 2 already: return its LSE as it is", {"lse": "twice"}),
    ("lse-is-sum", "the LSE output holds the sum of exponentials, without logarithm",
     "lse = maximum + log(sum), in base 2", {"lse": "no-logarithm"}),
    ("lse-base-10", "the log-sum-exp is in base 10", "use log2", {"lse": "base-10"}),
]  # fmt: skip
SCALE: list[Row] = [
    ("sm-scale-missing", "the logits are not scaled", "multiply the logits by sm_scale",
     {"scale": 1.0}),
    ("sm-scale-twice", "sm_scale is applied twice",
     "scale either q or the logits; a library applies its own scale", {"scale_power": 2}),
]  # fmt: skip
SOFTMAX: list[Row] = [
    ("exp2-without-log2e", "exp2 is taken of logits that are not multiplied by log2(e)",
     "fold log2(e) into the scale before exp2", {"weights_base": "2"}),
    ("log2e-with-exp", "logits are multiplied by log2(e) and then go into exp, not exp2",
     "use exp2, or drop the factor", {"weights_base": "log2e"}),
    ("softmax-not-normalised", "the output is not divided by the sum of exponentials",
     "divide by the sum at the end", {"normalised": False}),
    ("softmax-without-maximum", "exponentials overflow or underflow: no maximum is subtracted",
     "subtract the running maximum before the exponential", {"maximum": False}),
    ("empty-request-nan", "a row without keys gives NaN (0 / 0)",
     "give output 0 and LSE -inf where a row sees no key", {"empty": "nan"}),
    ("empty-request-mean", "a finite number stands for minus infinity: a row without keys gets "
     "the mean of the values, or a finite LSE",
     "give output 0 and LSE -inf where a row sees no key", {"empty": "mean"}),
]  # fmt: skip
SWAPPED: Row = ("kv-swapped", "keys and values are swapped", "pass K first, then V",
                {"swap_kv": True})  # fmt: skip
CAUSAL: list[Row] = [
    ("causal-offset-missing", "the causal mask is k <= q, without the offset kv_len - q_len",
     "query i sees keys up to i + kv_len - q_len", {"mask": "top-left"}),
    ("causal-mask-missing", "there is no causal mask: queries see later keys",
     "hide keys beyond i + kv_len - q_len", {"mask": "none"}),
    ("causal-mask-strict", "the mask hides the query's own key (k < q)",
     "use <=: query i sees key i + kv_len - q_len", {"mask": "strict"}),
    ("causal-mask-one-ahead", "the mask shows one key too many",
     "query i sees keys up to i + kv_len - q_len, not one more", {"mask": "one-ahead"}),
    ("causal-offset-of-longest", "the causal offset is the longest request's, not the own one's",
     "use each request's own kv_len - q_len", {"mask": "longest"}),
]  # fmt: skip
HEADS: list[Row] = [
    ("gqa-repeat-for-interleave", "query head h uses key head h % num_kv_heads (repeat, tile)",
     "key head is h // (num_qo_heads // num_kv_heads): repeat_interleave(group, dim)",
     {"heads": "tile"}),
    ("gqa-first-kv-head", "all query heads use key head 0",
     "key head is h // (num_qo_heads // num_kv_heads)", {"heads": "first"}),
    ("gqa-head-not-divided", "query head h uses key head h as far as there are any",
     "key head is h // (num_qo_heads // num_kv_heads)", {"heads": "per-head"}),
]  # fmt: skip
TABLE: list[Row] = [
    ("page-table-ignored", "the cache is read in order, not through kv_indices",
     "slot = kv_indices[page] * page_size + offset", {"tokens": "no-table"}),
    ("page-table-ignored", "each request is read from the beginning of the cache",
     "slot = kv_indices[page] * page_size + offset", {"tokens": "from-zero"}),
    ("first-request-table", "all requests read the first request's entries of kv_indices",
     "start at kv_indptr[request]", {"tokens": "first-request"}),
    ("last-token-ignored", "the last token of each request is not read",
     "loop to the length, not to length - 1", {"tokens": "last-dropped"}),
    ("first-token-ignored", "the first token of each request is not read",
     "start at the first token", {"tokens": "first-dropped"}),
    ("one-token-too-many", "one token behind the request's last is read",
     "stop at the request's length", {"tokens": "one-more"}),
]  # fmt: skip
PAGES: list[Row] = [
    ("last-page-len-ignored", "kv_last_page_len is ignored: the last page is read as if full",
     "length = (pages - 1) * page_size + kv_last_page_len", {"tokens": "full-last-page"}),
    ("last-page-ignored", "the last page is not read", "read kv_last_page_len tokens of it",
     {"tokens": "no-last-page"}),
    ("partial-page-ignored", "a last page that is not full is not read",
     "read kv_last_page_len tokens of it", {"tokens": "no-partial-page"}),
    ("length-one-page-too-long", "the length is pages * page_size + kv_last_page_len",
     "length = (pages - 1) * page_size + kv_last_page_len", {"tokens": "length-one-page-more"}),
    ("last-page-len-of-first", "all requests use the first request's kv_last_page_len",
     "use kv_last_page_len[request]", {"tokens": "first-last-page-len"}),
    ("page-ids-as-token-ids", "kv_indices are taken for token ids: one token a page",
     "they are page ids: slot = id * page_size + offset", {"tokens": "page-per-token"}),
    ("page-ids-as-token-ids", "kv_indices are taken for the slot of a page's first token",
     "they are page ids: slot = id * page_size + offset", {"tokens": "ids-as-slots"}),
    ("first-token-of-page-only", "only the first token of each page is read",
     "read all page_size tokens of a page", {"tokens": "first-of-page"}),
]  # fmt: skip
SHORTER = {"last-dropped", "first-dropped", "no-last-page", "no-partial-page", "page-per-token",
           "first-of-page"}  # fmt: skip
HND: Row = ("kv-layout-hnd", "the cache is read as HND, [pages, heads, page_size, dim]",
            "the definition is NHD, [pages, page_size, heads, dim]: kv_layout='NHD'",
            {"layout": "hnd"})  # fmt: skip
PADDED: list[Row] = [
    ("padding-not-masked", "requests are padded to the longest, and the padding is not masked",
     "mask keys beyond the request's length with -inf before softmax", {"padding": "zero-logit"}),
    ("padding-not-masked", "padding reads slot 0 of the cache and is not masked",
     "mask keys beyond the request's length with -inf before softmax", {"padding": "first-slot"}),
]  # fmt: skip
RAGGED: list[Row] = [
    ("qo-indptr-for-keys", "keys are found by qo_indptr", "keys start at kv_indptr[request]",
     {"tokens": "query-offsets"}),
    ("kv-indptr-ignored", "each request reads from the first key on",
     "keys start at kv_indptr[request]", {"tokens": "from-zero"}),
]  # fmt: skip
LATENT: list[Row] = [
    ("rope-part-missing", "the logits lack q_pe . kpe", "logits = q_nope . ckv + q_pe . kpe",
     {"join": "no-rope"}),
    ("latent-part-missing", "the logits lack q_nope . ckv", "logits = q_nope . ckv + q_pe . kpe",
     {"join": "no-latent"}),
    ("latent-join-order", "queries are joined as [nope, pe], keys as [kpe, ckv]",
     "join both in one order: [nope, pe] and [ckv, kpe]", {"join": "crossed"}),
    ("values-from-joined-cache", "values are the first elements of [kpe, ckv], not ckv",
     "values are ckv alone", {"values": "rope-first"}),
    ("values-from-joined-cache", "values are the last elements of [ckv, kpe], not ckv",
     "values are ckv alone", {"values": "rope-last"}),
]  # fmt: skip
SPARSE: list[Row] = [
    ("padding-reads-slot-0", "a padded index (-1) is clamped to slot 0 and not masked",
     "mask indices below 0 with -inf before softmax", {"pads": "slot-0"}),
    ("padding-reads-last-slot", "a padded index (-1) reads the cache's last slot",
     "mask indices below 0 with -inf before softmax", {"pads": "last-slot"}),
    ("padding-not-masked", "padded indices count with a logit of 0",
     "mask indices below 0 with -inf before softmax", {"padding": "zero-logit"}),
    ("indices-taken-for-pages", "sparse_indices are multiplied by page_size",
     "they are slots already: page * page_size + offset", {"tokens": "page-ids"}),
    ("indices-taken-for-pages", "sparse_indices are divided by page_size",
     "they are slots: page * page_size + offset", {"tokens": "pages"}),
    ("indices-ignored", "the first slots of the cache are read, not those of sparse_indices",
     "gather the slots that sparse_indices names", {"tokens": "from-zero"}),
    ("last-index-ignored", "the last valid index of each token is not read",
     "read all indices that are not below 0", {"tokens": "last-dropped"}),
    ("first-index-ignored", "the first index of each token is not read",
     "read all indices that are not below 0", {"tokens": "first-dropped"}),
]  # fmt: skip


def mutants(definition: Definition) -> list[Mutant]:
    """The mistakes that can show on this definition."""
    sizes, inputs = definition.const_axes, definition.inputs
    latent, sparse = "q_nope" in inputs, "sparse_indices" in inputs
    rows = [*LSE, *SCALE] + list(_scales(definition)) + SOFTMAX
    if "qo_indptr" in inputs:
        rows = CAUSAL + rows
    elif not sparse:
        rows = rows + PADDED
    if sizes.get("page_size", 1) > 1 and not sparse:
        rows = rows + PAGES + ([] if latent else [HND])
    if "kv_indices" in inputs:
        rows = rows + TABLE
    if latent:
        rows = rows + LATENT + (SPARSE if sparse else [])
    elif sizes.get("num_qo_heads") != sizes.get("num_kv_heads"):
        rows = rows + HEADS
    if not latent and "qk_dim" not in sizes:
        rows.insert(0, SWAPPED)
    if "k" in inputs:
        rows = rows + RAGGED + [row for row in TABLE if row[3]["tokens"].endswith("dropped")]
    if "qo_indptr" in inputs:  # the mask may know the length that the loop over tokens does not
        short = [row for row in rows if row[3].get("tokens") in SHORTER]
        rows += [(*row[:3], {**row[3], "offset": "true"}) for row in short]
    return table(rows)


def _scales(definition: Definition) -> Iterator[Row]:
    """1 / sqrt of every dimension that is mistaken for the one that counts."""
    sizes = definition.const_axes
    ckv, kpe = sizes.get("head_dim_ckv", 0), sizes.get("head_dim_kpe", 0)
    dims = {
        ckv + kpe: "the absorbed query and key, latent and rope part",
        ckv: "the latent part", kpe: "the rope part",
        sizes.get("head_dim", 0): "the head", sizes.get("qk_dim", 0): "query and key",
        sizes.get("vo_dim", 0): "values", 128: "the head without its rope part", 192: "the head "
        "before absorption",
    }  # fmt: skip
    change = "use the sm_scale that is passed in"
    if ckv:
        change += ": it comes from the head size before absorption (1 / sqrt(192) for 128 + 64)"
    for dim, what in dims.items():
        if dim:
            text = f"the softmax scale is 1 / sqrt({dim}), the size of {what}, not sm_scale"
            yield (f"sm-scale-1-sqrt-{dim}", text, change, {"scale": dim**-0.5})
            yield (
                f"sm-scale-1-over-{dim}", f"the softmax scale is 1 / {dim}", change,
                {"scale": 1 / dim},
            )  # fmt: skip
