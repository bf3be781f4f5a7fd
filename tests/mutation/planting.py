"""Put a mutant in the place of a module that others have imported already.

Functions keep their identity and get other code, so that whoever holds one runs the mutant. Numbers
of the module are changed wherever they were imported under their name.
"""

from __future__ import annotations

import ast
import sys
import types
from typing import Any

PLAIN = (bool, int, float, tuple, frozenset, dict)


def plant(module: types.ModuleType, tree: ast.Module) -> None:
    """Make `module` what `tree` says. Raises what the tree raises when it is run."""
    made = types.ModuleType(module.__name__)
    made.__file__ = module.__file__
    exec(compile(tree, str(module.__file__), "exec", dont_inherit=True), vars(made))
    for name, new in vars(made).items():
        old = vars(module).get(name)
        if isinstance(new, types.FunctionType) and new.__module__ == module.__name__:
            _swap(old, new)
        elif isinstance(new, type) and new.__module__ == module.__name__:
            _swap_class(old, new)
        elif isinstance(new, PLAIN) and not name.startswith("__") and _differs(old, new):
            for user in list(sys.modules.values()):
                if getattr(user, "__dict__", {}).get(name) is old:
                    setattr(user, name, new)


def _differs(old: Any, new: Any) -> bool:
    """Tables of functions do not: their functions were changed in place."""
    if isinstance(new, dict) and any(callable(value) for value in new.values()):
        return False
    return type(old) is not type(new) or old != new


def _swap(old: Any, new: Any) -> None:
    old.__code__, old.__defaults__ = new.__code__, new.__defaults__
    old.__kwdefaults__ = new.__kwdefaults__


def _swap_class(old: Any, new: Any) -> None:
    for name, value in vars(new).items():
        mine = vars(old).get(name)
        if isinstance(value, property):
            _swap(mine.fget, value.fget)
        elif isinstance(value, types.FunctionType) and isinstance(mine, types.FunctionType):
            _swap(mine, value)
        elif isinstance(value, PLAIN) and not name.startswith("__") and mine != value:
            setattr(old, name, value)
