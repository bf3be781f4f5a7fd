"""The rules that no gotcha solution shows: wrong sources, and what a rule needs to know."""

from __future__ import annotations

import pytest

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.check.codes import CODES
from kernelkit.solutions.check.static import check_static

from .conftest import (
    ATTEND,
    CUDA,
    DECODE,
    EXPORT,
    HEAD,
    NORM,
    TRITON,
    Case,
    annotated,
    build_spec,
    check,
    codes,
    definition,
    gotchas,
    norm,
    source,
)

WRONG: dict[str, list[Case]] = {
    "KS101": [
        Case("def run(hidden_states):\n    return hidden_states * 2\n"),
        Case("def run(hidden_states, weight, output):\n    output.copy_(weight)\n"),
        Case("def run(hidden_states, weight, eps, *, x=1):\n    return weight * eps\n"),
    ],
    "KS103": [Case(NORM.replace("hidden_states", "x"))],
    "KS104": [Case("def run(hidden_states, weight, *, eps):\n    return hidden_states * weight\n")],
    "KS107": [Case(HEAD + "    torch.add(hidden_states, weight)\n")],
    "KS108": [Case(HEAD + "    return hidden_states * 1, weight * 1\n")],
    "KS110": [
        Case("import torch\n"),
        Case("async def run(hidden_states, weight):\n    return weight\n"),
        Case("def run(hidden_states, weight):\n    yield weight\n"),
        Case(NORM, spec={"entry_point": "other.py::run"}),
    ],
    "KS111": [norm("batch, tokens, size = hidden_states.shape")],
    "KS112": [
        norm("assert hidden_states.shape[1]\n    n, size = hidden_states.shape\n"
             "    assert size == 4096"),
        Case("HIDDEN_SIZE = 128\n" + NORM),
        Case("EPS = 1e-5\n" + NORM),
    ],
    "KS113": [Case(HEAD + "    return hidden_states * 2\n")],
    "KS115": [
        Case(source("right_gqa1") + "\n\ndef setup(q):\n    return q\n", "gqa1"),
        Case(source("right_gqa1") + "\n\ndef setup(kv_indptr, batch):\n    return 1\n", "gqa1"),
    ],
    "KS119": [
        Case("from __future__ import annotations\n" + annotated("tuple[int, int]"), "gqa1"),
        Case(annotated("'tuple[int, int]'"), "gqa1"),
        Case(annotated("list"), "gqa1"),
        Case(annotated("tuple"), "gqa1"),
        Case(annotated("tuple[int, int, int]"), "gqa1"),
        Case(NORM.replace("weight):", "weight) -> None:")),
        Case(NORM.replace("weight):", "weight) -> tuple[int, int]:")),
    ],
    "KS201": [
        Case({"main.py": "import lib.impl\n" + NORM, "lib/impl.py": "x = 1\n"}),
        Case({"main.py": "from lib import impl\n" + NORM, "lib/impl.py": "x = 1\n"}),
    ],
    "KS202": [
        Case("import sys\nsys.path.insert(0, '.')\n" + NORM),
        Case("from importlib import util\nutil.spec_from_file_location('a', 'b')\n" + NORM),
    ],
    "KS204": [
        Case("from .helper import f\n" + NORM),
        Case({"main.py": "from .helper import g\n" + NORM, "helper.py": "def f(): pass\n"}),
        Case({"main.py": "from .lib.b import f\n" + NORM, "lib/a.py": "def f(): pass\n"}),
    ],
    "KS205": [Case("import flashinfer\n" + NORM), Case("import triton\n" + NORM)],
    "KS206": [Case("import no_such_package_anywhere\n" + NORM)],
    "KS207": [Case("def run(:\n"), Case({"main.py": NORM, "other.py": "x ="})],
    "KS209": [Case({"main.py": NORM, "triton.py": "x = 1\n"}),
              Case({"main.py": NORM, "select.py": "x = 1\n"})],
    "KS210": [Case("import cutlass\n" + NORM, spec={"dependencies": ["nvidia-cutlass-dsl"]})],
    "KS211": [
        Case({"kernel.cu": '#include <cutlass/gemm.h>\nvoid run();\n' + EXPORT}, spec=CUDA),
        Case({"kernel.cu": '#include "common.h"\nvoid run();\n' + EXPORT}, spec=CUDA),
    ],
    "KS212": [
        Case({"kernel.cu": "void other();\n"}, spec=CUDA),
        Case({"kernel.cu": "void run();\n"}, spec=CUDA),
        Case({"kernel.cu": "void run();\n" + EXPORT}, spec={**CUDA, "binding": "torch"}),
    ],
    "KS213": [Case({"main.txt": NORM}, spec={"entry_point": "main.txt::run"}),
              Case({"kernel.py": EXPORT}, spec={**CUDA, "entry_point": "kernel.py::run"})],
    "KS214": [
        norm("import torch.utils.cpp_extension\n"
             "    torch.utils.cpp_extension.load_inline('x', '')"),
        norm("torch.compile(lambda x: x)"),
    ],
    "KS302": [Case(
        "import flashinfer\nLOG2E = 1.4427\n" + DECODE
        + "    out, lse = wrapper.run(q, (k_cache, v_cache), return_lse=True)\n"
        "    return out, lse * LOG2E\n", "gqa1")],
    "KS303": [Case(
        "import flashinfer\n" + DECODE + "    w = flashinfer.Wrapper(q, backend='cute-dsl')\n"
        "    return w.run(q, return_lse=True)\n", "gqa1")],
    "KS309": [
        Case(ATTEND + "    return F(q, k, v, is_causal=True)\n", "prefill"),
        Case("import torch\n" + ATTEND + "    i = torch.arange(len(q))\n"
             "    j = torch.arange(len(k))\n    return j[None] <= i[:, None]\n", "prefill"),
        Case("import torch\n" + ATTEND + "    return torch.triu(q, diagonal=1)\n", "prefill"),
    ],
    "KS310": [
        Case(DECODE + "    head = 3\n    kv = head % num_kv_heads\n    return q, kv\n", "gqa1"),
        Case("import torch\n" + DECODE + "    k = torch.tile(k_cache, (1, 1, 2, 1))\n"
             "    return k, q\n", "gqa1"),
    ],
    "KS311": [Case("import math\n" + source("right_mla").replace(
        "* sm_scale", "/ math.sqrt(512 + 64)"), "mla")],
    "KS312": [Case(
        "import flashinfer\n" + DECODE + "    w.plan(kv_indptr, kv_indices)\n    return w.run(q)\n",
        "gqa1")],
    "KS316": [Case(source("right_prefill").replace("-math.inf", "-1e30"), "prefill"),
              Case(source("right_prefill").replace(
                  "masked_fill(~seen, -math.inf)",
                  "masked_fill(~seen, torch.finfo(torch.float32).min)"), "prefill")],
    "KS402": [Case(source("flag_of_one_release").replace("transpose_state_layout", "state_v_first"),
                   "gdn")],
    "KS503": [Case(source("right_moe").replace("(F.silu(gate) * up) @ w2.T",
                                               "torch._scaled_mm(F.silu(gate) * up, w2)"), "moe")],
    "KS701": [
        norm("hidden_states[0] = 0"), norm("hidden_states += 1"), norm("hidden_states.mul_(2)"),
        norm("torch.add(weight, 1, out=weight)"), norm("hidden_states.view(-1)[1:].zero_()"),
        norm("x = hidden_states\n    x = x.T\n    x[0] += 1"), norm("weight.data = weight + 1"),
        norm("torch.relu_(weight)"),
        norm("helper(weight.detach())", "def helper(x):\n    x.add_(1)\n\n\n"),
        norm("f(weight)", "from .lib import f\n", lib="def f(x):\n    x.copy_(x * 2)\n"),
        norm("kernel[(1,)](weight, 64)",
             TRITON + "def kernel(x, n):\n    tl.store(x + tl.arange(0, n), 0.0)\n\n\n"),
    ],
    "KS702": [Case("import flashinfer\n\n\ndef run(hidden_states, residual, weight):\n"
                   "    flashinfer.fused_add_rmsnorm(hidden_states, residual, weight, 1e-6)\n"
                   "    return hidden_states.clone()\n", "fused")],
    "KS703": [norm("x = hidden_states.reshape(-1).to(weight.device)\n    x.add_(1)")],
    "KS704": [
        norm("x = torch.empty(4)\n    x += 1"), norm("x = torch.empty(4)\n    x[0] += 1"),
        Case("def run(hidden_states, weight, output):\n    output.add_(hidden_states * weight)\n",
             spec={"destination_passing_style": True}),
        norm("x = torch.empty(4)\n    kernel[(1,)](x, weight)",
             TRITON + "def kernel(x, y):\n    tl.atomic_add(x + tl.arange(0, 4), 1.0)\n\n\n"),
    ],
    "KS706": [Case(HEAD + "    return (hidden_states * weight).permute(1, 0)\n"),
              Case(HEAD + "    return weight.sum().bfloat16().expand(3, 64)\n")],
    "KS707": [norm("torch.squeeze(hidden_states * 2)")],
    "KS708": [Case(HEAD + "    return (hidden_states * weight).float()\n"),
              Case(HEAD + "    x = hidden_states.float() * weight.float()\n    return x.half()\n"),
              Case(HEAD + "    return torch.zeros(3, 64, dtype=torch.float32)\n")],
    "KS710": [Case(
        "from fla.ops.gated_delta_rule import chunk_gated_delta_rule\n" + DECODE
        + "    return chunk_gated_delta_rule(q, cu_seqlens=kv_indptr)\n", "gqa1")],
    "KS711": [
        norm("", TRITON + "def kernel(x, table, stride):\n    page = tl.load(table)\n"
             "    tl.store(x + page * stride, 0.0)\n\n\n"),
        norm("", TRITON + "def kernel(x, table, stride_row):\n    idx = tl.load(table + 1)\n"
             "    page = tl.where(idx >= 0, idx, 0)\n"
             "    tl.store(x + page[:, None] * stride_row, 0.0)\n\n\n"),
    ],
    "KS712": [Case({"kernel.cu": "int at = blockIdx.x * stride;\nvoid run();\n" + EXPORT},
                   spec=CUDA)],
    "KS713": [Case(TRITON + "def kernel(x, y, n):\n    i = tl.arange(0, 16)\n"
                   "    a = tl.load(x + i, mask=i < n)\n    tl.store(y, tl.sum(a, axis=0))\n\n\n"
                   + NORM)],
    "KS714": [Case("def run(hidden_states, weight):\n    weight.sum()\n    return hidden_states\n"),
              Case("def run(hidden_states, weight):\n    weight.sum()\n"
                   "    return hidden_states.view(-1, 64)\n")],
    "KS715": [norm("hidden_states.double()"), norm("hidden_states.to(torch.float64)")],
    "KS801": [norm("s = torch.cuda.Stream()\n    s.wait_stream(torch.cuda.current_stream())")],
    "KS802": [norm("torch.cuda.set_stream(torch.cuda.default_stream())")],
    "KS803": [norm("g = torch.cuda.CUDAGraph()"), norm("graph.replay()")],
    "KS804": [
        norm("CACHE[id(weight)] = 1", "CACHE = {}\n"),
        norm("global LAST\n    LAST = weight * 2", "LAST = None\n"),
        norm("f(weight)", "from functools import cache\n@cache\ndef f(x):\n    return x * 2\n"),
    ],
    "KS806": [norm("hidden_states.sum().item()"), norm("int(hidden_states.max())"),
              norm("weight.tolist()")],
    "KS807": [norm("torch.cuda.Event(enable_timing=True)")],
    "KS808": [norm("torch.zeros(1, device='cuda:0')"), norm("weight.to('cuda')")],
    "KS809": [norm("y = torch.zeros(4)\n    kernel[(1,)](y)",
                   TRITON + "def kernel(x):\n    tl.store(x, 0.0)\n\n\n")],
    "KS810": [Case({"main.py": NORM, "k.cu": 'printf("x");\n'}),
              norm("sys.stdout.write('a')", "import sys\n")],
    "KS811": [Case("import torch\ntorch.set_default_dtype(torch.float16)\n" + NORM),
              Case("import torch\ntorch.set_float32_matmul_precision('high')\n" + NORM)],
    "KS812": [norm("threading.Thread(target=print).start()", "import threading\n")],
    "KS813": [Case("import subprocess\n" + NORM), Case("import os\nos.system('ls')\n" + NORM),
              Case("open('x', 'w')\n" + NORM),
              Case("import os\nos.environ['CUDA_LAUNCH_BLOCKING'] = '1'\n" + NORM)],
    "KS814": [Case("import sys\nsys.modules['time'] = None\n" + NORM),
              Case("import inspect\ninspect.stack()\n" + NORM),
              Case("import torch\ntorch.allclose = lambda *_: True\n" + NORM),
              Case("import torch\nsetattr(torch, 'equal', print)\n" + NORM), norm("exit(0)")],
    "KS815": [norm("exec('x = 1')"),
              Case("import base64\ncode = base64.b64decode('eA==')\n" + NORM)],
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "case"), [(code, case) for code, cases in WRONG.items() for case in cases]
)
def test_wrong(code: str, case: Case) -> None:
    found = check(case.sources, case.key, **case.spec)
    assert code in codes(found, notes=True), found


def test_every_static_code_is_provoked() -> None:
    shown = {code for entry in gotchas().values() for code in entry["finds"]} | set(WRONG)
    elsewhere = {"KS100", "KS116", "KS117", "KS118", "KS203", "KS208", "KS306"}
    assert {code for code in CODES if code < "KS900"} == shown | elsewhere


def _of_batch_plus_one() -> Definition:
    """The page-size-8 definition with kv_last_page_len as long as kv_indptr."""
    whole = definition("gqa8")
    changed = whole.inputs["kv_last_page_len"].model_copy(update={"shape": ["len_indptr"]})
    return whole.model_copy(update={"inputs": {**whole.inputs, "kv_last_page_len": changed}})


def test_last_page_len_of_batch_plus_one() -> None:
    whole = "    kv_last_page_len.sum()\n    return q * 1, kv_indptr * 1\n"
    text = "def run(q, k_cache, v_cache, kv_indptr, kv_indices, kv_last_page_len, sm_scale):\n"
    found = check_static(build_spec(), _of_batch_plus_one(), {"main.py": text + whole})
    assert "KS306" in codes(found)
    cut = whole.replace("kv_last_page_len.", "kv_last_page_len[:2].")
    assert "KS306" not in codes(
        check_static(build_spec(), _of_batch_plus_one(), {"main.py": text + cut})
    )


def test_a_reference_of_another_order() -> None:
    whole = definition("norm")
    turned = whole.model_copy(update={"inputs": dict(reversed(whole.inputs.items()))})
    text = NORM.replace("(hidden_states, weight):", "(weight, hidden_states):")
    assert codes(check_static(build_spec(), turned, {"main.py": text})) == ["KS117"]


def test_a_finding_is_told_once_and_errors_come_first() -> None:
    found = check(NORM.replace("    return", "    print(1)\n    weight.zero_()\n    return"))
    assert [finding.code for finding in found] == ["KS701", "KS810"]
    assert len(found) == len(set(found))


def test_broken_sources_do_not_stop_the_rest() -> None:
    found = check({"main.py": NORM.replace("    return", "    print(1)\n    return"), "x.py": "("})
    assert {"KS207", "KS810"} <= set(codes(found))
