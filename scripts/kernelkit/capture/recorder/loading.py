"""The import hook: after FlashInfer's and SGLang's modules are executed, wrap what is wanted.

Light on purpose: it runs at the start of every Python process below the parent. The rest of the
recorder is imported when FlashInfer is.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

FLASHINFER = "flashinfer"
SGLANG_MODULES = (
    "sglang.srt.model_executor.model_runner",
    "sglang.srt.layers.radix_attention",
    "sglang.srt.layers.radix_linear_attention",
)


class Finder:
    """A meta-path finder that lets the others find, and acts when a module has been executed."""

    def __init__(self, wanted: Callable[[str], bool], act: Callable[[ModuleType], None]) -> None:
        self._wanted = wanted
        self._act = act
        self._inside: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the other finders give, with a loader that acts after execution."""
        if not self._wanted(name) or name in self._inside:
            return None
        self._inside.add(name)
        try:
            spec = self._found(name, path, target)
        finally:
            self._inside.discard(name)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            self._follow(spec)
        return spec

    def _found(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> importlib.machinery.ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            if (spec := finder.find_spec(name, path, target)) is not None:
                return spec
        return None

    def _follow(self, spec: importlib.machinery.ModuleSpec) -> None:
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            try:
                self._act(module)
            except Exception as error:  # the process matters more than the recording
                complain(f"{module.__name__}: {error!r}")

        try:
            spec.loader.exec_module = exec_module
        except AttributeError:  # a loader with slots: its module stays unobserved
            complain(f"{spec.name}: its loader cannot be followed")


def complain(text: str) -> None:
    """One line on stderr."""
    print(f"kernelkit recorder: {text}", file=sys.stderr, flush=True)


def install() -> None:
    """Follow the imports of this process; modules that are there already are wrapped now."""
    finder = Finder(_is_followed, _wrap)
    sys.meta_path.insert(0, finder)
    for name in sorted(name for name in sys.modules if _is_followed(name)):
        _wrap(sys.modules[name])


def _is_followed(name: str) -> bool:
    return name == FLASHINFER or name.startswith(f"{FLASHINFER}.") or name in SGLANG_MODULES


def _wrap(module: ModuleType) -> None:
    if module.__name__ in SGLANG_MODULES:
        from kernelkit.capture.recorder import steps

        steps.follow(module)
        return
    from kernelkit.capture.recorder import wrapping

    wrapping.observe_module(module)
