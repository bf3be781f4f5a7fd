"""Sound forms that stand next to wrong ones: no rule may find anything in them."""

from __future__ import annotations

import pytest

from .conftest import CUDA, EXPORT, HEAD, NORM, TRITON, Case, annotated, check, codes, norm, source

FUSED = "def run(hidden_states, residual, weight):\n"
SOUND: list[Case] = [
    Case(NORM),
    Case("from __future__ import annotations\n" + NORM.replace("weight):", "weight) -> Tensor:")),
    *(Case(annotated(form), "gqa1") for form in ("tuple[int, int]", "typing.Tuple[int, int]")),
    Case("import flashinfer\n" + FUSED + "    x, y = hidden_states.clone(), residual.clone()\n"
         "    flashinfer.fused_add_rmsnorm(x, y, weight, 1e-6)\n    return x\n", "fused",
         {"dependencies": ["flashinfer-python"]}),
    norm("x = hidden_states.float()\n    x.add_(1)"),  # bfloat16 -> float32 copies
    norm("x = hidden_states.clone()\n    x[0] = 0"),
    norm("x = hidden_states[weight > 0]\n    x.zero_()"),  # a mask copies
    norm("x = torch.empty(4)\n    x.zero_()\n    x += 1"),
    norm("total = 0\n    total += 1"),
    Case("from pathlib import Path\nTEXT = Path(__file__).read_text()\n" + NORM),
    Case("import os\nFAST = os.environ.get('FAST')\n" + NORM),
    Case(NORM + "\n\nif __name__ == '__main__':\n    print(run)\n"),
    norm("y = torch.squeeze(hidden_states, 0)"),
    Case(NORM.replace("def run", "@torch.compile(fullgraph=True)\ndef run")),
    Case(source("right_gdn").replace("F.softplus(", "log_of_one_plus_exp(").replace(
        "torch.sigmoid(b[:, 0].float())", "1.0 / (1.0 + torch.exp(-b[:, 0].float()))")
        + "\n\ndef log_of_one_plus_exp(x):\n    return torch.log(1.0 + torch.exp(x))\n", "gdn"),
    *(Case(source("right_gqa8").replace("k_cache[pages].flatten(0, 1)", form), "gqa8") for form in (
        "k_cache.view(k_cache.shape[0], -1)[pages].view(-1, 2, 16)",
        "k_cache.flatten(1)[pages].view(-1, 2, 16)",
        "k_cache.flatten(0, 1)[(pages[:, None] * PAGE_SIZE + torch.arange(8)).flatten()]",
        "k_cache.view(-1, 2, 16)[torch.cat([p * 8 + torch.arange(8) for p in pages])]",
    )),
    *(Case(source("right_gqa1").replace("math.log(2)", form), "gqa1")
      for form in ("torch.log(torch.tensor(2.0))", "0.6931471805599453", "LN2")),
    norm("y = torch.zeros(2, device=weight.device)"),
    norm("assert weight.device.type == 'cuda' or True"),
    norm("with torch.random.fork_rng():\n        pass"),
    Case("def run(hidden_states, weight, output):\n    if weight.is_cuda:\n"
         "        output.copy_(weight)\n    else:\n        output.copy_(hidden_states)\n",
         spec={"destination_passing_style": True}),
    Case("import torch\n\n\ndef run(hidden_states, weight, output):\n"
         "    torch.mul(hidden_states, weight, out=output)\n",
         spec={"destination_passing_style": True}),
    Case({"main.py": "try:\n    from .helper import f\nexcept ImportError:\n"
          "    from helper import f\n" + NORM, "helper.py": "def f(): pass\n"}),
    Case({"main.py": "from .lib.impl import f\nfrom . import lib\n" + NORM,
          "lib/impl.py": "from ..other import x\n\n\ndef f():\n    return x\n",
          "other.py": "x = 1\n"}),
    norm("if weight.device not in ROOM:\n"
         "        ROOM[weight.device] = torch.zeros(64, device=weight.device)", "ROOM = {}\n"),
    norm("tiles(weight.shape[0])",
         "from functools import cache\n@cache\ndef tiles(n):\n    return n // 2\n"),
    norm("s = torch.cuda.Stream()\n    s.wait_stream(torch.cuda.current_stream())\n"
         "    torch.cuda.current_stream().wait_stream(s)"),
    norm("POOL.submit(max, 1, 2).result()",
         "from concurrent.futures import ThreadPoolExecutor\nPOOL = ThreadPoolExecutor(2)\n"),
    norm("global BUILT\n    if BUILT is None:\n"
         "        BUILT = cpp_extension.load_inline('x', '')",
         "BUILT = None\nfrom torch.utils import cpp_extension\n"),
    Case("import cutlass\n" + NORM, spec={"dependencies": ["nvidia-cutlass-dsl==4.5.2"]}),
    Case({"kernel.cu": '#include <cuda_fp16.h>\n#include "lib/a.h"\nvoid run();\n' + EXPORT,
          "lib/a.h": "// here\n"}, spec=CUDA),
    Case({"bind.cpp": '#include <torch/extension.h>\n#include "torch/all.h"\nvoid run();\n'
          'PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("run", &run); }\n'},
         spec={"language": "cpp", "entry_point": "bind.cpp::run", "binding": "torch"}),
    Case(TRITON + "def kernel(x, table, stride):\n    page = tl.load(table).to(tl.int64)\n"
         "    row = tl.program_id(0).to(tl.int64)\n    head = tl.program_id(1)\n"
         "    tl.store(x + page * stride + row * stride + head * stride, 0.0)\n\n\n" + NORM,
         spec={"dependencies": ["triton"]}),
    Case(source("right_prefill").replace(
        ".tril(n - m)", ".tril()[-m:]").replace("ones(m, n", "ones(n, n"), "prefill"),
    Case(source("right_gqa1").replace(
        ".float().repeat_interleave(group, dim=1)",
        ".float()[:, :, None].repeat(1, 1, group, 1).flatten(1, 2)"), "gqa1"),
    Case(source("right_gqa1").replace("/ math.log(2)", "* 1.4426950408889634"), "gqa1"),
    Case(source("right_gdn").replace(
        "    scale = scale if scale else", "    if scale is None or scale == 0:\n        scale ="),
        "gdn"),
    Case(source("right_moe").replace(
        "hidden_states_scale.T.repeat_interleave(BLOCK, dim=1)",
        "hidden_states_scale.repeat_interleave(BLOCK, dim=0).T"), "moe"),
    Case("with torch.autocast('cuda'):\n    pass\n" + HEAD + "    return hidden_states * weight\n"),
]  # fmt: skip


@pytest.mark.parametrize("case", SOUND, ids=range(len(SOUND)))
def test_sound(case: Case) -> None:
    found = check(case.sources, case.key, **case.spec)
    assert codes(found) == [], found
