"""Python's own functions and methods, as far as they can be computed on decided values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernelkit.sglang.interpret.values import (
    PLAIN,
    Choice,
    External,
    Instance,
    Native,
    Unknown,
    choose,
    truth,
)

NOTHING = Native(lambda *args, **kwargs: None)
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset("count startswith endswith split rsplit replace lower upper strip lstrip rstrip "
                   "join format isdigit find partition rpartition removeprefix removesuffix "
                   "index title".split()),
    list: frozenset("append extend insert index count copy pop".split()),
    tuple: frozenset(("index", "count")),
    dict: frozenset("get keys values items copy update setdefault pop".split()),
    set: frozenset("add union copy discard".split()),
    int: frozenset(("bit_length",)),
}  # fmt: skip


def method_of(owner: Any, attr: str) -> Any:
    """A method of a plain value; calls with open arguments give an open result."""
    allowed = _METHODS.get(type(owner), frozenset())
    if attr not in allowed:
        return Unknown(attr)
    bound = getattr(owner, attr)
    stores = attr in ("append", "extend", "insert", "add", "update", "setdefault", "get", "index")

    def call(*args: Any, **kwargs: Any) -> Any:
        if attr == "get" and args and not isinstance(args[0], (*PLAIN, Instance, External)):
            held = list(owner.values())
            return choose(*held) if 0 < len(held) <= 8 else Unknown("get()")
        if not stores and not all(isinstance(a, PLAIN) for a in (*args, *kwargs.values())):
            return Unknown(attr)
        if attr in ("extend", "update") and not all(isinstance(a, PLAIN) for a in args):
            return None
        try:
            found = bound(*args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever Python's own method says of odd arguments
            return Unknown(attr)
        return list(found) if attr in ("keys", "values", "items") else found

    return Native(call)


def _computed(function: Callable[..., Any], name: str) -> Native:
    def call(*args: Any, **kwargs: Any) -> Any:
        if not all(isinstance(a, PLAIN) for a in (*args, *kwargs.values())):
            return Unknown(f"{name}(...)")
        try:
            return function(*args, **kwargs)
        except Exception:  # noqa: BLE001 - the source would raise here
            return Unknown(f"{name}(...)")

    return Native(call)


def _length(value: Any = None) -> Any:
    return len(value) if isinstance(value, (str, list, tuple, dict, range, set)) else Unknown("len")


def _boolean(value: Any = False) -> Any:
    decided = truth(value)
    return Unknown("bool") if decided is None else decided


def _listed(value: Any = ()) -> Any:
    if isinstance(value, (list, tuple, range, dict, str, set)):
        return list(value)
    return value if isinstance(value, Choice) else Unknown("list")


def _any_of(values: Any) -> Any:
    if not isinstance(values, (list, tuple)):
        return Unknown("any")
    found = [truth(v) for v in values]
    return True if True in found else (Unknown("any") if None in found else False)


def _all_of(values: Any) -> Any:
    if not isinstance(values, (list, tuple)):
        return Unknown("all")
    found = [truth(v) for v in values]
    return False if False in found else (Unknown("all") if None in found else True)


def _enumerated(values: Any, start: int = 0) -> Any:
    known = isinstance(values, (list, tuple, range))
    return list(enumerate(values, start)) if known else Unknown("enumerate")


def _zipped(*values: Any, **kwargs: Any) -> Any:
    known = all(isinstance(v, (list, tuple, range)) for v in values)
    return list(zip(*values)) if known else Unknown("zip")  # noqa: B905


def _spanned(*args: Any) -> Any:
    return range(*args) if all(isinstance(a, int) for a in args) else Unknown("range")


def _tupled(value: Any = ()) -> Any:
    return tuple(value) if isinstance(value, (list, tuple, range)) else Unknown("tuple")


def _mapping(*args: Any, **kwargs: Any) -> Any:
    if not all(isinstance(a, dict) for a in args):
        return Unknown("dict")
    return {k: v for part in (*args, kwargs) for k, v in part.items()}


def _reversed(value: Any = ()) -> Any:
    return list(value)[::-1] if isinstance(value, (list, tuple, range)) else Unknown("reversed")


BUILTINS: dict[str, Any] = {
    **{f.__name__: _computed(f, f.__name__)
       for f in (abs, max, min, sum, int, float, str, round, divmod, pow, sorted)},
    "len": Native(_length), "bool": Native(_boolean), "list": Native(_listed),
    "tuple": Native(_tupled),
    "set": Native(_listed), "any": Native(_any_of), "all": Native(_all_of),
    "enumerate": Native(_enumerated), "zip": Native(_zipped), "range": Native(_spanned),
    "reversed": Native(_reversed),
    "dict": Native(_mapping),
    "print": NOTHING,
}  # fmt: skip


def external_value(path: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """What well-known functions outside the tree return; NOTHING for all others."""
    last = path.rsplit(".", 1)[-1]
    if path in ("torch.nn.ModuleList", "torch.nn.modules.ModuleList"):
        return list(args[0]) if args and isinstance(args[0], (list, tuple)) else (args or [[]])[0]
    if path == "torch.nn.Sequential":
        return list(args)
    if path == "torch.nn.ModuleDict":
        return args[0] if args else {}
    if last in ("lru_cache", "cache", "compile", "wraps") and args:
        return args[0]
    if last in ("is_compiling", "is_dynamo_compiling", "is_current_stream_capturing"):
        return False
    if path == "dataclasses.field":
        return kwargs.get("default", Unknown("field"))
    if path == "typing.cast" and len(args) == 2:
        return args[1]
    return NOTHING


def is_module_class(path: str) -> bool:
    """Whether a path names a layer class of torch itself (torch.nn.Linear, ...)."""
    if path in ("torch.nn.Parameter", "torch.nn.Module"):
        return False
    return path.startswith("torch.nn.") and path.count(".") == 2 and path[9:10].isupper()


def is_class_like(path: str) -> bool:
    """Whether the last word is written as a class name."""
    last = path.rsplit(".", 1)[-1]
    return last[:1].isupper() and not last.isupper()
