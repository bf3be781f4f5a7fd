"""What is known of memory and types along the way from the arguments to the result."""

from __future__ import annotations

import pytest

from kernelkit.solutions.check.flow import Flow
from kernelkit.solutions.check.syntax import Module
from kernelkit.solutions.check.values import Value

X = Value(frozenset("x"), True, frozenset("x"), "bfloat16", "argument")


def result(body: str, more: str = "") -> Value:
    """The value that `def run(x)` with this body returns."""
    text = f"import torch\nimport torch.nn.functional as F\n{more}\n\ndef run(x):\n    {body}\n"
    module = Module("main.py", text)
    return Flow({"main.py": module}).enter(module, module.functions["run"], {"x": X})


@pytest.mark.parametrize(
    ("body", "alias", "sure"),
    [
        ("return x", True, True),
        ("return x.view(-1)[1:]", True, True),
        ("return torch.transpose(x, 0, 1)", True, True),
        ("return x.T.reshape(-1)", True, False),
        ("return x.reshape(-1)", True, True),
        ("return x.T.contiguous()", True, False),
        ("return x.to(torch.bfloat16)", True, True),
        ("return x.to(x.dtype)", True, True),
        ("return x.to('cpu')", True, False),
        ("return x.float()", False, False),
        ("return x.to(torch.bfloat16, copy=True)", False, False),
        ("return x.clone()", False, False),
        ("return x + 1", False, False),
        ("return x[torch.arange(3)]", False, False),
        ("for i in range(3):\n        y = x[i]\n    return y", True, True),
        ("y = x if x.is_cuda else x.clone()\n    return y", True, False),
        ("if x.is_cuda:\n        return x\n    return x.detach()", True, True),
        ("y, z = x, x.clone()\n    return z", False, False),
        ("y, z = (t.view(-1) for t in (x, x + 1))\n    return y", True, True),
        ("return f(x)", True, True),
        ("return (lambda t: t)(x)", False, False),
    ],
)
def test_memory(body: str, alias: bool, sure: bool) -> None:
    value = result(body, "def f(t, n=1):\n    u = t.unsqueeze(0)\n    return u")
    assert (bool(value.alias), value.sure) == (alias, sure)


@pytest.mark.parametrize(
    ("body", "dtype"),
    [
        ("return x", "bfloat16"),
        ("return x.float() * 2", "float32"),
        ("return torch.matmul(x.float(), x.float().T)", "float32"),
        ("return x * x.float()", ""),
        ("return x.softmax(-1)", "bfloat16"),
        ("return F.softmax(x, dim=-1, dtype=torch.float32)", "float32"),
        ("return torch.empty(3, dtype=torch.float16)", "float16"),
        ("return torch.zeros_like(x)", "bfloat16"),
        ("return x.sort().indices", ""),
        ("values, tokens = x.sort()\n    return tokens", "int64"),
        ("return x.half().to(x.dtype)", "bfloat16"),
        ("return foreign(x)", ""),
    ],
)
def test_types(body: str, dtype: str) -> None:
    assert result(body).dtype == dtype


def test_data_is_followed_and_shapes_are_not_data() -> None:
    assert result("return torch.sigmoid(x).sum()").data == {"x"}
    assert result("return torch.zeros(x.shape, device=x.device)").data == set()
    assert result("return len(x)").data == set()


def test_recursion_and_depth_end() -> None:
    assert result("return f(x)", "def f(t):\n    return f(t)").data == {"x"}
    deep = "\n".join(f"def f{i}(t):\n    return f{i + 1}(t)" for i in range(20))
    assert result("return f0(x)", deep + "\ndef f20(t):\n    return t").data == {"x"}


def test_every_statement_of_python_is_passed() -> None:
    body = """with torch.no_grad() as _:
        pass
    try:
        a = [t for t in x if t]
    except ValueError as error:
        raise error from None
    finally:
        del a
    while x:
        break
    else:
        b: int = 3
    match x:
        case _:
            pass
    async def g(): await x
    class C: pass
    c = {**{}, 'a': x}; d = {1, 2}; e = x[..., 1:2, None]; f = f'{x}'; (g := 3)
    *h, i = x
    assert x, 'no'
    global j
    import os
    return (yield) or x"""
    assert isinstance(result(body), Value)
