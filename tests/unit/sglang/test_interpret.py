"""The interpreter: what is decided is computed, what is open is followed both ways."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from kernelkit.sglang.interpret import calls, lookup
from kernelkit.sglang.interpret.files import Files
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import Choice, FunctionRef, Unknown


def _machine(tmp_path: Path, **modules: str) -> Machine:
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name, text in modules.items():
        (package / f"{name}.py").write_text(textwrap.dedent(text))
    return Machine(Files({"pack": package}))


def _run(m: Machine, function: str = "f", *args: Any, module: str = "a") -> Any:
    file = m.files.find(f"pack.{module}")
    assert file is not None
    made = lookup.member_of_file(m, file, function)
    assert isinstance(made, FunctionRef)
    return calls.call(m, made, list(args), {}, made.node, Frame(file, ({},)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return [x for x in range(5) if x % 2]", [1, 3]),
        ("return {'a': 1, **{'b': 2}}['b']", 2),
        ("return 'M*M-'[:3].count('M')", 2),
        ("t = 0\nfor i in range(4):\n    if i == 2:\n        continue\n    t += i\nreturn t", 4),
        ("for i in range(9):\n    if i == 3:\n        break\nreturn i", 3),
        ("a, (b, c) = 1, (2, 3)\nreturn a + b * c", 7),
        ("return max(1, 8 // 16)", 1),
        ("try:\n    import absent_package\nexcept ImportError:\n    return 2\nreturn 1", 1),
        ("def inner(x):\n    return x + y\ny = 4\nreturn inner(1)", 5),
        ("return (lambda x, k=3: x * k)(2)", 6),
        ("return 10 if unknown is None and False else 20", 20),
        ("return dict(a=1, b=unknown)['a']", 1),
    ],
)  # fmt: skip
def test_decided_values(tmp_path: Path, body: str, expected: object) -> None:
    text = "def f(unknown):\n" + textwrap.indent(body, "    ") + "\n"
    m = _machine(tmp_path, a=text)
    assert _run(m, "f", Unknown("unknown")) == expected


def test_open_branches_are_joined(tmp_path: Path) -> None:
    m = _machine(tmp_path, a="""
        def f(x):
            if x > 3:
                y = 1
            else:
                y = 2
            return y
        """)  # fmt: skip
    found = _run(m, "f", Unknown("x"))
    assert isinstance(found, Choice) and found.options == (1, 2)
    assert _run(m, "f", 5) == 1


def test_a_loop_left_on_an_open_branch_goes_on(tmp_path: Path) -> None:
    m = _machine(tmp_path, a="""
        def f(items):
            for item in items:
                if item.ready():
                    continue
                return False
            return True
        """)  # fmt: skip
    found = _run(m, "f", Unknown("items"))
    assert isinstance(found, Choice) and set(found.options) == {True, False}


def test_events_carry_the_open_conditions(tmp_path: Path) -> None:
    m = _machine(tmp_path, a="""
        from flashinfer import one, two, three
        import sys

        def f(x, flag):
            if flag:
                raise ValueError("a check is no condition")
            if x is None:
                one()
                return
            two() if x.small else helper(x)

        def helper(x):
            if sys.absent_flag and False:
                one()
            three()
        """)  # fmt: skip
    m.tracing = True
    _run(m, "f", Unknown("x"), Unknown("flag"))
    found = [(e.symbol, e.conditions) for e in m.events]
    assert found == [
        ("flashinfer.one", ("x is None",)),
        ("flashinfer.two", ("x is not None", "x.small")),
        ("flashinfer.three", ("x is not None", "not x.small")),
    ]
    assert [site.function for site in m.events[2].chain][-2:] == ["f", "helper"]


def test_imports_that_go_in_circles_end(tmp_path: Path) -> None:
    m = _machine(
        tmp_path,
        a="from pack.b import *\nfrom pack.b import thing\ndef f():\n    return thing\n",
        b="from pack.a import thing\n",
    )
    assert isinstance(_run(m), Unknown)


def test_recursion_and_size_are_bounded(tmp_path: Path) -> None:
    m = _machine(tmp_path, a="""
        def f(n):
            return f(n + 1) if n else 'x' * 10 ** 9

        def g():
            return 2 ** 10 ** 8
        """)  # fmt: skip
    assert isinstance(_run(m, "f", Unknown("n")), (Unknown, Choice))
    assert isinstance(_run(m, "g"), Unknown)


def test_classes_properties_enums_and_super(tmp_path: Path) -> None:
    m = _machine(tmp_path, a="""
        from enum import Enum

        class Kind(Enum):
            A = "a"
            B = "b"

            def is_a(self):
                return self == Kind.A

        class Base:
            size = 4

            def __init__(self, n):
                self.n = n

            @property
            def twice(self):
                return 2 * self.n

        class Derived(Base):
            def __init__(self, n, *rest, scale=3):
                super().__init__(n * scale)

        def f():
            made = Derived(2)
            return [made.twice, made.size, Kind("a").is_a(), Kind.B.is_a(),
                    isinstance(made, Base), hasattr(made, "n"), getattr(made, "absent", 9)]
        """)  # fmt: skip
    assert _run(m) == [12, 4, True, False, True, True, 9]


def _kernels(m: Machine) -> set[tuple[str, ...]]:
    """Each call that left the tree, by the lines that led to it."""
    return {(e.symbol, *(str(site.line) for site in e.chain)) for e in m.events}


def test_a_call_that_is_known_already_is_noted_where_it_is_made(tmp_path: Path) -> None:
    m = _machine(tmp_path, a="""
        import kernels

        def helper(x):
            kernels.run(x)

        def f(x):
            helper(x)
            if x:
                helper(x)
        """)  # fmt: skip
    m.tracing = True
    _run(m, "f", Unknown("x"))
    assert _kernels(m) == {("kernels.run", "7", "8", "5"), ("kernels.run", "7", "10", "5")}
    assert [e.conditions for e in m.events] == [(), ("x",)]


def test_a_call_is_known_by_what_its_arguments_can_call(tmp_path: Path) -> None:
    m = _machine(tmp_path, a="""
        import kernels

        def one(x):
            kernels.one(x)

        def two(x):
            kernels.two(x)

        def through(run, x):
            run(x)

        def f(x):
            through(one if x else None, x)
            through(two if x else None, x)
            through(x, x)
        """)  # fmt: skip
    m.tracing = True
    _run(m, "f", Unknown("x"))
    assert {e.symbol for e in m.events} == {"kernels.one", "kernels.two"}


def test_what_one_option_of_a_choice_calls_is_known_to_the_next(tmp_path: Path) -> None:
    m = _machine(tmp_path, a="""
        import kernels

        def shared():
            kernels.shared()

        class A:
            def run(self):
                shared()

        class B:
            def run(self):
                shared()

        def f(x):
            made = A() if x else B()
            made.run()
        """)  # fmt: skip
    m.tracing = True
    _run(m, "f", Unknown("x"))
    assert sorted(site.function for e in m.events for site in e.chain[-2:-1]) == ["A.run", "B.run"]
    assert len(m.lasting) == 2, "f and shared, each entered once"
