"""Lazily parsed sources are the trees that `ast.parse` gives."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path

import pytest

from kernelkit import lazily

STDLIB = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
# Sources whose functions cannot be told from their indentation alone, or only just.
ODD = {
    "one line": "def f(x): return 1\nclass A:\n    def m(self):\n        return 2\n",
    "one line, then a block": "def f(x): return g(x)\nif f(1):\n    def g(x):\n        return x\n",
    "string that reaches left": 'def f():\n    return """a\nb: c\n"""\nx = 1\n',
    "string that looks like code": 'def f():\n    s = """\ndef g():\n    pass\n"""\n    return s\n',
    "comment to the left": "def f():\n    a = 1\n# not the end\n    return a\n# end\n\nb = 2\n",
    "comment at the end": "class A:\n    def f(self):\n        pass\n        # end\n\n    x = 3\n",
    "headers of several lines": (
        "def f(\n    a: dict[str, int] = {},\n    *,\n    b=lambda x: (x),\n) -> tuple[\n    int\n"
        "]:  # why\n    return a, b\n"
    ),
    "decorators and async": (
        "@dec(\n    1\n)\nasync def f():\n    async with a() as b:\n        await b\n    yield b\n"
    ),
    "in blocks": (
        "try:\n    def f():\n        return 1\nexcept E:\n    def f():\n        return 2\n"
        "else:\n    x = 1\nfinally:\n    def g():\n        pass\n"
    ),
    "nested": (
        "def f():\n    def g():\n        return 1\n    class B:\n        def h(self): ...\n"
        "    return g\n"
    ),
    "ellipsis": "class P:\n    def f(self): ...\n    def g(self):\n        ...\n",
    "windows lines": "def f(x):\r\n    return x\r\n\r\ny = 1\r\n",
    "tabs": "class A:\n\tdef f(self):\n\t\treturn 1\n\tx = 2\n",
    "no last newline": "def f():\n    return 1",
    "byte order mark": "\ufeffdef f():\n    return 1\n",
    "continued": "def f(a): \\\n    return a\n",
    "empty": "",
}  # fmt: skip


def _tree(module: ast.Module) -> tuple[str, list[tuple[str, int, int]]]:
    """The nodes and their lines; columns are not kept."""
    lines = [(type(n).__name__, getattr(n, "lineno", 0), getattr(n, "end_lineno", 0))
             for n in ast.walk(module)]  # fmt: skip
    return ast.dump(module), lines


@pytest.mark.parametrize("name", ODD)
def test_odd_sources(name: str) -> None:
    source = ODD[name].encode()
    assert _tree(lazily.parse(source)) == _tree(ast.parse(source))


def test_the_standard_library() -> None:
    assert len(STDLIB) > 100
    for path in STDLIB:
        source = path.read_bytes()
        assert _tree(lazily.parse(source)) == _tree(ast.parse(source)), path


def test_most_files_are_read_lazily() -> None:
    whole = 0
    for path in STDLIB:
        bodies = [n.body for n in lazily.parse(path.read_bytes()).body
                  if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]  # fmt: skip
        whole += bool(bodies) and not any(isinstance(body, lazily.Body) for body in bodies)
    assert whole < len(STDLIB) / 5


def test_a_body_is_parsed_when_it_is_read() -> None:
    module = lazily.parse(b"def f():\n    x = 1\n    return word\n\ndef g():\n    return 2\n")
    f, g = module.body
    assert isinstance(f, ast.FunctionDef) and isinstance(g, ast.FunctionDef)
    assert isinstance(f.body, lazily.Body) and f.body.text == "    x = 1\n    return word\n\n"
    assert lazily.mentions(f, "word") and not lazily.mentions(g, "word")
    assert [statement.lineno for statement in f.body] == [2, 3]
    assert f.body.text is None and len(f.body) == 2 and f.body[0].lineno == 2
    assert lazily.mentions(f, "anything"), "of a parsed body nobody asks the text"
    assert isinstance(g.body, lazily.Body) and g.body.text is not None


def test_what_does_not_parse() -> None:
    with pytest.raises(SyntaxError):
        lazily.parse(b"def broken(:\n")
    with pytest.raises((SyntaxError, ValueError)):
        lazily.parse(b"x = '\xff'\n")
    module = lazily.parse(b"def f():\n    return (\n\nx = 1\n")
    f = module.body[0]
    assert isinstance(f, ast.FunctionDef) and list(f.body) == []
