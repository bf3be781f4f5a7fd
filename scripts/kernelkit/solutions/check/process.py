"""Rules of the process: prints, torch's global state, threads, the operating system, the caller."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, finding
from kernelkit.solutions.check.packaging import packages
from kernelkit.solutions.check.syntax import Module, method_of

_GLOBAL_STATE = re.compile(
    r"^torch\.(manual_seed|seed|set_default_dtype|set_default_device|set_default_tensor_type|"
    r"set_num_threads|set_num_interop_threads|set_float32_matmul_precision|set_rng_state|"
    r"use_deterministic_algorithms|set_grad_enabled|set_printoptions|set_flush_denormal|"
    r"cuda\.(manual_seed|manual_seed_all|set_device|set_rng_state|empty_cache|memory\.\w+))$"
    r"|^(random|numpy\.random)\.seed$"
)
_SYSTEM = ("subprocess", "socket", "ctypes", "urllib", "requests", "http", "ftplib", "shutil",
           "multiprocessing", "mmap", "resource", "pty", "fcntl")  # fmt: skip
_OS_CALLS = re.compile(
    r"^os\.(system|popen|exec\w*|spawn\w*|fork\w*|kill\w*|remove|unlink|rename|makedirs|mkdir|"
    r"rmdir|chdir|chmod|setsid|putenv|dup2?|open|write|pipe)$|^tempfile\."
)
_CALLER = re.compile(
    r"^(sys\.(_getframe|modules|settrace|setprofile|exit|_current_frames|setrecursionlimit)|"
    r"inspect\.(stack|currentframe|getouterframes)|gc\.(get_objects|get_referrers|get_referents)|"
    r"os\.(_exit|abort|getppid)|signal\.\w+|atexit\.\w+|builtins\.\w+|faulthandler\.\w+|"
    r"tracemalloc\.\w+|ctypes\.pythonapi.*)$"
)
_CODE = ("pickle.loads", "pickle.load", "marshal.loads", "base64.b64decode", "zlib.decompress",
         "codecs.decode")  # fmt: skip
_THREADS = (
    "threading.Thread", "threading.Timer", "_thread.start_new_thread", "multiprocessing.Process",
    "multiprocessing.Pool", "concurrent.futures.ThreadPoolExecutor",
    "concurrent.futures.ProcessPoolExecutor",
)  # fmt: skip


def prints(context: Context) -> Iterator[Finding]:
    """KS810, also in kernels and CUDA."""
    for module in context.modules.values():
        for node, dotted in module.calls:
            plain = isinstance(node.func, ast.Name) and node.func.id == "print"
            if (plain and not dotted and not _is_main(module, node)) or dotted in (
                "triton.language.device_print", "sys.stdout.write", "sys.stderr.write",
                "cutlass.cute.printf",
            ):  # fmt: skip
                yield finding("KS810", module, node, ast.unparse(node)[:60])
    for path, text in context.sources.items():
        if path.endswith((".cu", ".cuh", ".cpp", ".cc")):
            for number, line in enumerate(text.splitlines(), start=1):
                if re.search(r"\bprintf\s*\(|std::cout", line.split("//")[0]):
                    yield Finding("KS810", path, line.strip()[:60], number)


def _is_main(module: Module, node: ast.AST) -> bool:
    """Whether a line stands in `if __name__ == "__main__":`."""
    return any("__main__" in ast.unparse(h.test) for h in module.enclosing(node, (ast.If,)))  # type: ignore[attr-defined]


def global_state(context: Context) -> Iterator[Finding]:
    """KS811. Decorators and `with` blocks are local."""
    for module in context.modules.values():
        for node, dotted in module.calls:
            if _GLOBAL_STATE.match(dotted) and not _is_local(module, node):
                if not _is_main(module, node):
                    yield finding("KS811", module, node, f"{dotted}(...)")
        for node in module.nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    name = module.dotted(target)
                    if name.startswith(("torch.backends.", "torch._dynamo.", "torch._inductor.")):
                        yield finding("KS811", module, node, ast.unparse(node))


def _is_local(module: Module, node: ast.AST) -> bool:
    return isinstance(module.parents.get(node), ast.withitem)


def threads(context: Context) -> Iterator[Finding]:
    """KS812: started, and no join, result or `with` anywhere."""
    if context.mentions(r"\.(join|result|get|map|shutdown|starmap)\(|as_completed|futures\.wait\("):
        return
    for module in context.modules.values():
        for node, dotted in module.calls:
            if dotted in _THREADS and not _is_local(module, node):
                yield finding("KS812", module, node, dotted)


def system(context: Context) -> Iterator[Finding]:
    """KS813: once for each package."""
    for module in context.modules.values():
        told: set[str] = set()
        for node in module.nodes:
            for name in packages(node):
                if name in _SYSTEM and name not in told:
                    told.add(name)
                    yield finding("KS813", module, node, f"imports {name}")
        for node, dotted in module.calls:
            if _OS_CALLS.match(dotted) and not _is_main(module, node):
                yield finding("KS813", module, node, f"{dotted}(...)")
            elif isinstance(node.func, ast.Name) and node.func.id == "open" and _writes(node):
                yield finding("KS813", module, node, "opens a file to write")
        for node in module.nodes:
            if isinstance(node, (ast.Assign, ast.AugAssign, ast.Delete)) and _sets_environment(
                module, node
            ):
                yield finding("KS813", module, node, ast.unparse(node)[:60])


def _writes(call: ast.Call) -> bool:
    modes = [a.value for a in (*call.args[1:2], *(k.value for k in call.keywords))
             if isinstance(a, ast.Constant) and isinstance(a.value, str)]  # fmt: skip
    return any(set(mode) & set("wax+") and len(mode) <= 3 for mode in modes)


def _sets_environment(module: Module, node: ast.AST) -> bool:
    targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
    return any(
        isinstance(t, ast.Subscript) and module.dotted(t.value) == "os.environ" for t in targets
    )


def caller(context: Context) -> Iterator[Finding]:
    """KS814: frames, loaded modules, exit, signals; and functions of torch or time replaced."""
    for module in context.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and _CALLER.match(module.dotted(node)):
                if not _is_main(module, node):
                    yield finding("KS814", module, node, module.dotted(node))
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Attribute) and _is_foreign(module, target):
                        yield finding("KS814", module, node, f"replaces {module.dotted(target)}")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("exit", "quit", "breakpoint"):
                    yield finding("KS814", module, node, f"calls {node.func.id}()")
                elif node.func.id == "setattr" and node.args and module.dotted(node.args[0]):
                    yield finding("KS814", module, node, ast.unparse(node)[:60])


def _is_foreign(module: Module, target: ast.Attribute) -> bool:
    """An attribute of an imported package that is set; torch's settings have KS811."""
    dotted = module.dotted(target)
    settings = ("torch.backends.", "torch._dynamo.", "torch._inductor.")
    return bool(dotted) and not dotted.startswith((".", *settings))


def hidden_code(context: Context) -> Iterator[Finding]:
    """KS815."""
    for module in context.modules.values():
        for node, dotted in module.calls:
            plain = node.func.id if isinstance(node.func, ast.Name) else ""
            if dotted in _CODE or (
                plain in ("exec", "eval", "compile", "__import__") and not dotted
            ):
                yield finding("KS815", module, node, f"{dotted or plain}(...)")
            elif method_of(node) == "import_module" and not _constant_import(node):
                yield finding("KS815", module, node, ast.unparse(node)[:60])


def _constant_import(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Constant)


RULES: tuple[Rule, ...] = (
    prints, global_state, threads, system, caller, hidden_code,
)  # fmt: skip
