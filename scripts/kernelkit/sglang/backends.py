"""The attention backend that a model runs with, built in the interpreter from SGLang's registry."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from kernelkit.errors import UsageError
from kernelkit.models.spec import ModelSpec
from kernelkit.sglang.interpret import calls, lookup
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import FunctionRef, Instance, Unknown
from kernelkit.sglang.tree import SglangTree

REGISTRY = "sglang.srt.layers.attention.attention_registry"
_SPARSE = ("dsa", "nsa")  # SGLang runs models with an indexer on this backend, whatever is asked


def registered(m: Machine) -> dict[str, str]:
    """Backend name -> the function of the registry that makes it."""
    file = m.files.find(REGISTRY)
    found: dict[str, str] = {}
    for node in file.parsed.body if file else ():
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and "register_attention_backend" in ast.unparse(
                decorator.func
            ):
                found.update((ast.literal_eval(a), node.name) for a in decorator.args)
    return found


def effective(m: Machine, spec: ModelSpec, wanted: str) -> str:
    """The backend that serves the model. Raises UsageError for one that is not registered."""
    known = registered(m)
    if spec.dsa is not None:
        return next((name for name in _SPARSE if name in known), wanted)
    if wanted not in known:
        raise UsageError(
            "no such attention backend in this SGLang", received=wanted,
            allowed=", ".join(sorted(known)),
        )  # fmt: skip
    return wanted


def decide_sparse(m: Machine, spec: ModelSpec) -> None:
    """Whether the model has an indexer, which classes ask by function; open without a config."""
    if spec.layers:
        for name in ("is_deepseek_dsa", "is_deepseek_nsa"):
            m.known[name] = lambda *args: spec.dsa is not None


def build(m: Machine, spec: ModelSpec, config: Instance, name: str) -> Any:
    """The backend object: the registered one, wrapped for models with linear attention."""
    file = m.files.find(REGISTRY)
    made_by = registered(m).get(name)
    if file is None or made_by is None:
        return Unknown("attn_backend")
    runner = _runner(spec, config)
    _decide_kinds(m, runner)
    frame = Frame(file, ({},), REGISTRY)
    node = file.parsed
    backend = calls.call(m, lookup.member_of_file(m, file, made_by), [runner], {}, node, frame)
    wrapper = lookup.member_of_file(m, file, "attn_backend_wrapper")
    if isinstance(wrapper, FunctionRef):
        return calls.call(m, wrapper, [runner, backend], {}, node, frame)
    return backend


def _runner(spec: ModelSpec, config: Instance) -> Instance:
    """What backends read of the model runner; the rest is open."""
    text = config.attrs["get_text_config"].call()
    window = spec.attention.sliding_window if spec.attention else None
    model_config = Instance(None, {
        "hf_config": config, "hf_text_config": text, "is_encoder_decoder": False,
        "is_multimodal": config is not text, "num_hidden_layers": spec.num_layers,
        "is_hybrid_swa": False,
    }, fallback=lambda attr: Unknown(f"model_config.{attr}"))  # fmt: skip
    linear = text if spec.gdn or spec.mamba else None
    latent = spec.mla is not None if spec.layers else Unknown("use_mla_backend")
    given = {
        "model_config": model_config, "server_args": Unknown("server_args"),
        "use_mla_backend": latent, "sliding_window_size": window,
        "is_draft_worker": False, "init_new_workspace": False, "is_hybrid_swa": False,
        "mambaish_config": linear, "hybrid_gdn_config": text if spec.gdn else None,
        "mamba2_config": text if spec.mamba else None, "kimi_linear_config": None,
        "hybrid_lightning_config": None, "hybrid_kda_config": None, "glm5_next_config": None,
    }  # fmt: skip
    return Instance(None, given, fallback=lambda attr: Unknown(f"model_runner.{attr}"))


def _decide_kinds(m: Machine, runner: Instance) -> None:
    """Newer versions ask functions for what older ones read from the runner."""
    for name, value in runner.attrs.items():
        if name.endswith("_config") and name != "model_config":
            m.known[name] = lambda *args, value=value: value
    for name in ("is_qwen_qsa", "is_minimax_sparse", "check_environments"):
        m.known[name] = lambda *args: False


def refusals(tree: SglangTree, architecture: str, backend: str) -> list[str]:
    """Assertions of the server that refuse this backend for this architecture, with their place."""
    found: list[str] = []
    files = [tree.root / "srt" / "server_args.py"]
    files += sorted((tree.root / "srt" / "arg_groups").glob("**/*.py"))
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if all(word in text for word in ("assert ", "arch", "backend")):
            found += _refusing(path, text, tree, architecture, backend)
    return found


def _refusing(
    path: Path, text: str, tree: SglangTree, architecture: str, backend: str
) -> list[str]:
    found = []
    name = path.relative_to(tree.base).as_posix()
    parsed = ast.parse(text)
    constants = _constants(parsed)
    for branch in (n for n in ast.walk(parsed) if isinstance(n, ast.If)):
        if not _names(branch.test, architecture, constants):
            continue
        lists: dict[str, set[str]] = {}
        for node in (n for statement in branch.body for n in ast.walk(statement)):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                lists[node.targets[0].id] = _strings(node.value)
            if isinstance(node, ast.Assert) and _refuses(node.test, lists, backend):
                found.append(f"SGLang refuses attention_backend={backend} for {architecture}: "
                             f"{name}:{node.lineno}")  # fmt: skip
    return list(dict.fromkeys(found))


def _constants(parsed: ast.Module) -> dict[str, set[str]]:
    """The strings in the module's constants, by name."""
    return {
        node.targets[0].id: _strings(node.value)
        for node in parsed.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _names(test: ast.expr, architecture: str, constants: dict[str, set[str]]) -> bool:
    """Whether a condition names the architecture: in full, through a constant of the module, or by
    `"Llama4" in model_arch`."""
    listed = (constants.get(n.id, set()) for n in ast.walk(test) if isinstance(n, ast.Name))
    if architecture in _strings(test).union(*listed):
        return True
    return any(
        isinstance(n, ast.Compare) and isinstance(n.ops[0], ast.In)
        and isinstance(n.left, ast.Constant) and str(n.left.value) in architecture
        and "arch" in ast.unparse(n.comparators[0])
        for n in ast.walk(test)
    )  # fmt: skip


def _strings(node: ast.AST) -> set[str]:
    return {
        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }


def _refuses(test: ast.expr, lists: dict[str, set[str]], backend: str) -> bool:
    """Whether the assertion limits the attention backend to a list without this one."""
    text = ast.unparse(test)
    if "attention_backend" not in text and "attn_backend" not in text:
        return False
    names = {n.id for n in ast.walk(test) if isinstance(n, ast.Name)}
    allowed = _strings(test).union(*(lists[n] for n in names if n in lists))
    if any(isinstance(n, (ast.NotIn, ast.NotEq)) for n in ast.walk(test)):
        return backend in allowed
    return bool(allowed) and backend not in allowed
