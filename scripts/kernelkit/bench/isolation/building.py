"""From a solution's unpacked sources to functions that can be called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernelkit.bench.isolation.calling import PACKAGE, load_module

Functions = tuple[Callable[..., Any], Callable[..., Any] | None]  # run, setup

COMPILED = {".cu", ".cpp", ".cc", ".cxx", ".c"}


def build(code: Path, spec: dict[str, Any]) -> Functions:
    """The entry function of the sources in `code`, and `setup` beside it if there is one.

    Raises whatever the sources raise, TypeError and AttributeError for an entry that is none.
    """
    file, _, symbol = spec["entry_point"].partition("::")
    if spec["language"] in ("cuda", "cpp"):
        return _compiled(code, spec, symbol), None
    module = load_module(code, file)
    function = getattr(module, symbol)
    if not callable(function):
        raise TypeError(f"{file}::{symbol} is not callable")
    setup = getattr(module, "setup", None) if symbol != "setup" else None
    return function, setup if callable(setup) else None


def _compiled(code: Path, spec: dict[str, Any], symbol: str) -> Callable[..., Any]:
    """Build C++ or CUDA: by torch's extension loader, or by tvm-ffi, which is the default."""
    sources = sorted(str(path) for path in code.rglob("*") if path.suffix in COMPILED)
    folder = code.parent / "build"
    folder.mkdir(exist_ok=True)
    includes = [str(code)]
    if spec.get("binding") == "torch":
        from torch.utils import cpp_extension

        module = cpp_extension.load(
            PACKAGE, sources, build_directory=str(folder), extra_include_paths=includes
        )
        return getattr(module, symbol)
    try:
        import tvm_ffi.cpp
    except ImportError:
        raise ImportError(
            "binding tvm-ffi needs the package apache-tvm-ffi (pip install apache-tvm-ffi), or say "
            '"binding": "torch"'
        ) from None
    library = tvm_ffi.cpp.build(
        PACKAGE,
        cuda_files=[source for source in sources if source.endswith(".cu")] or None,
        cpp_files=[source for source in sources if not source.endswith(".cu")] or None,
        extra_include_paths=includes,
        build_directory=str(folder),
    )
    return getattr(tvm_ffi.load_module(library), symbol)
