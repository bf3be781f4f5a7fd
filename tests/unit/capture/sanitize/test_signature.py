"""Names and defaults of parameters, from recorded text."""

from __future__ import annotations

import pytest

from kernelkit.capture.sanitize.signature import parse


@pytest.mark.parametrize(
    ("text", "positional", "defaults"),
    [
        ("(a, b: int = 3) -> None", ("a", "b"), {"b": 3}),
        ("(a: Union[int, str] = 'x', *args)", ("a",), {"a": "x"}),
        ("(a: Callable[[int], str] = <function f at 0x1>)", ("a",), {}),
        ("(self, q, *args, return_lse: bool = False)", ("self", "q"), {"return_lse": False}),
        ("(a, *, b=1)", ("a",), {"b": 1}),
        ("(a, /, b=(1, 2))", ("a", "b"), {"b": (1, 2)}),
        ("()", (), {}),
        ("", (), {}),
    ],
)
def test_signatures(text: str, positional: tuple[str, ...], defaults: dict[str, object]) -> None:
    found = parse(text)
    assert (found.positional, found.defaults) == (positional, defaults)


def test_positions_behind_the_signature_keep_their_number() -> None:
    assert parse("(a, *args)").name_at(1) == "arg_1"


def test_flashinfer_0_7_names_old_positions() -> None:
    text = "(self, page_size: int, *deprecated_positional_args: Any, **kwargs: Any) -> None"
    found = parse(text)
    assert [found.name_at(i) for i in (1, 2, 3, 4)] == [
        "page_size", "pos_encoding_mode", "window_left", "logits_soft_cap",
    ]  # fmt: skip
