"""What holds throughout: an NVIDIA GPU, one rank, eager execution, the server's defaults.

Flags that choose a backend (`*_backend`) stay open, so that every path a user can choose shows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from kernelkit.sglang.interpret import classes, lookup, natives
from kernelkit.sglang.interpret.files import Files
from kernelkit.sglang.interpret.machine import Machine
from kernelkit.sglang.interpret.values import (
    ClassRef,
    External,
    ExternalObject,
    FunctionRef,
    Instance,
    Native,
    Unknown,
    choose,
)
from kernelkit.sglang.tree import SglangTree

_OTHER_PLATFORM = re.compile(
    r"is_(hip|npu|xpu|cpu|musa|mps|hpu|gfx\w*|gcu|tpu)(_\w+)?|"
    r"cpu_has_amx_support|use_intel_amx_backend|use_intel_xpu_backend"
)
_SIZE = re.compile(r"get_\w*(parallel|tp|pp|ep|dp|cp|dcp)\w*_(world_size|size)")
_RANK = re.compile(r"get_\w*(parallel|tp|pp|ep|dp|cp|dcp)\w*_rank")
_GROUP = re.compile(r"get_\w*(tp|pp|ep|dp|cp|world|parallel)_group|get_parallel")
# Eager execution on one rank: no CUDA graph, no torch.compile, no expert-parallel extras.
_OFF = frozenset(
    "is_dp_attention_enabled is_out_of_tree is_batch_invariant_mode_enabled is_nextn "
    "is_in_tc_piecewise_cuda_graph is_in_breakable_cuda_graph is_in_prefill_graph_scope "
    "is_in_full_prefill_graph check_cuda_graph_backend is_tbo_enabled is_sbo_enabled".split()
)
_SERVER = frozenset(
    "get_global_server_args get_server_args get_exec get_flags get_spec get_schedule get_memory "
    "get_model get_device get_lora get_mm get_disagg get_serving get_forward".split()
)

# Parts that decide no kernel (or only where more than one rank runs): not looked into.
_UNREAD = re.compile(
    "sglang/srt/(environ|connector|batch_overlap|distributed|model_loader|managers|disaggregation|"
    "eplb|lora|debug_utils|observability|hardware_backend|entrypoints|"
    "speculative|state_capturer|elastic_ep|mem_cache|model_executor|utils/hf_transformers/(?!common)|"
    "layers/moe/(token_dispatcher|kt_ep_wrapper)|multimodal|plugins|session|parser|compilation|"
    "platforms|layers/cp|kv_canary)(/|$|_)|sglang/(lang|test|cli|multimodal_gen)/|"
    "sglang/kernels/jit/utils/(arch|compile/cpp_args)$"
)

# Methods that make parameters or bookkeeping, never a layer.
_WITHOUT_EFFECT = (
    "create_weights set_weight_attrs wrap_method_with_debug_kernel_once append_stages "
    "_override_weight_loader load_weights process_weights_after_loading log_info_on_rank0"
).split()


class Known(dict[str, Callable[..., Any]]):
    """Function name -> what it answers. Most names follow from a pattern."""

    def __init__(self, capability: tuple[int, int] | None) -> None:
        super().__init__(
            is_cuda=_just(True), is_cuda_alike=_just(True), is_flashinfer_available=_just(True),
            get_pp_indices=lambda count, *rest: (0, count),
            get_offloader=lambda: Instance(None, {"wrap_modules": Native(lambda made, **_: made)}),
            add_prefix=lambda name, prefix="", *rest: f"{prefix}.{name}" if prefix else str(name),
            ModelConfig=_just(Unknown("ModelConfig()")),
            create_kt_config_from_server_args=_just(None),
            get_moe_a2a_backend=lambda: _ONE_RANK_EXPERTS,
            get_moe_runner_backend=_just(Unknown("get_moe_runner_backend()")),
            get_tc_piecewise_forward_context=_just(None),
            **dict.fromkeys(_WITHOUT_EFFECT, _just(None)),
            get_platform=lambda: Instance(None, fallback=_platform),
            LazyImport=lambda module, name, *rest: External(f"{module}.{name}"),
            load_jit=lambda *a, **k: ExternalObject("jit"),
            get_device_capability=_just(capability or Unknown("get_device_capability()")),
        )  # fmt: skip
        self._capability = capability
        self._unknown: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        if name in self._unknown:
            return default
        if name not in self:
            answer = _by_pattern(name, self._capability)
            if answer is natives.NOTHING:
                self._unknown.add(name)
                return default
            self[name] = _just(answer)
        return self[name]

    def __setitem__(self, name: str, answer: Callable[..., Any]) -> None:
        self._unknown.discard(name)
        super().__setitem__(name, answer)


def _just(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def _by_pattern(name: str, capability: tuple[int, int] | None) -> Any:
    if name in _SERVER:
        return Unknown(f"{name}()")
    if name in _OFF or _OTHER_PLATFORM.fullmatch(name):
        return False
    if _GROUP.fullmatch(name):
        return _ONE_RANK
    if _SIZE.fullmatch(name):
        return 1
    if _RANK.fullmatch(name):
        return 0
    return _of_generation(name, capability)


def _of_generation(name: str, capability: tuple[int, int] | None) -> Any:
    """`is_sm90_supported`, `is_blackwell_supported`: open unless a compute capability is given."""
    found = re.fullmatch(r"is_(sm(\d+)\w*|blackwell\w*|hopper\w*|ampere\w*)", name)
    if not found:
        return natives.NOTHING
    if capability is None:
        return Unknown(f"{name}()")
    if found.group(2):
        return int(found.group(2)[:-1]) == capability[0]
    major = {"blackwell": (10, 12), "hopper": (9,), "ampere": (8,)}
    return capability[0] in next(v for k, v in major.items() if found.group(1).startswith(k))


def _platform(attr: str) -> Any:
    if attr in ("is_cuda", "is_cuda_alike"):
        return True
    return False if _OTHER_PLATFORM.fullmatch(attr) else Unknown(f"get_platform().{attr}")


def _parallel(attr: str) -> Any:
    if attr.startswith(("is_first", "is_last")):
        return True
    if attr.endswith("_size"):
        return 1
    if attr.endswith(("rank", "rank_in_group")):
        return 0
    return _ONE_RANK if attr.endswith("group") else Unknown(attr)


_ONE_RANK = Instance(None, fallback=_parallel)
# Experts on one rank: no all-to-all.
_ONE_RANK_EXPERTS = Instance(None, fallback=lambda attr: Native(_just(attr == "is_none")))


class ServerDefaults:
    """Fields of ServerArgs by name, from its sources: the default, or open."""

    def __init__(self, m: Machine, attention_backend: str) -> None:
        self._m = m
        self._backend = attention_backend
        self._classes: list[ClassRef] | None = None

    def __call__(self, text: str, attr: str) -> Any:
        """The value of `server_args.attr` (`text` is what stands before the dot)."""
        if not (text.endswith("server_args") or text.split("(")[0] in _SERVER):
            return natives.NOTHING
        if attr == "sp_active":  # sequence parallelism needs more ranks
            return False
        if attr in ("attention_backend", "prefill_attention_backend", "decode_attention_backend"):
            return self._backend
        if attr != "moe_a2a_backend" and attr.endswith("_backend") or attr == "backend":
            return natives.NOTHING
        return self._default(attr)

    def _default(self, attr: str) -> Any:
        for cls in self._find():
            if attr in cls.members:
                outer, self._m.tracing = self._m.tracing, False
                value = classes.class_member(self._m, cls, attr)
                self._m.tracing = outer
                return value if isinstance(value, (bool, int, str)) else natives.NOTHING
        return natives.NOTHING

    def _find(self) -> list[ClassRef]:
        """ServerArgs, and the field groups that newer versions put it together from."""
        if self._classes is None:
            files = self._m.files
            names = ["sglang.srt.server_args"]
            groups = files.roots["sglang"] / "srt" / "arg_groups" / "fields"
            names += [f"sglang.srt.arg_groups.fields.{p.stem}" for p in sorted(groups.glob("*.py"))]
            found = [f for f in map(files.find, names) if f is not None]
            self._classes = [
                v for f in found for v in lookup.run_file(self._m, f).names.values()
                if isinstance(v, ClassRef) and v.file is f
            ]  # fmt: skip
        return self._classes


def machine(
    tree: SglangTree, attention_backend: str, capability: tuple[int, int] | None
) -> Machine:
    """An interpreter over the tree's sources that knows these facts."""
    made = Machine(_files(tree), Known(capability))
    made.unread = lambda path: _UNREAD.match(path) is not None
    made.known["get_fused_func"] = lambda *args: _fused_experts(made)
    made.may_set = lambda path: "/layers/" in path or "/kernels/" in path
    made.on_open = ServerDefaults(made, attention_backend)
    return made


def _fused_experts(m: Machine) -> Any:
    """The functions that runners register for experts on one rank (a decorator keeps them)."""
    folder = m.files.roots["sglang"] / "srt" / "layers" / "moe" / "moe_runner"
    found: list[Any] = []
    for path in sorted(folder.glob("*.py")):
        file = m.files.find(f"sglang.srt.layers.moe.moe_runner.{path.stem}")
        for node in file.parsed.body if file else ():
            if file and isinstance(node, ast.FunctionDef) and _for_one_rank(node):
                found.append(FunctionRef(node, file))
    return choose(None, *found) if found else Unknown("get_fused_func()")


def _for_one_rank(node: ast.FunctionDef) -> bool:
    """Whether the function is decorated with `register_fused_func("none", ...)`."""
    return any(
        isinstance(d, ast.Call) and ast.unparse(d.func).endswith("register_fused_func")
        and d.args and isinstance(d.args[0], ast.Constant) and d.args[0].value == "none"
        for d in node.decorator_list
    )  # fmt: skip


_PARSED: dict[SglangTree, dict[str, ast.Module]] = {}


def _files(tree: SglangTree) -> Files:
    """Files that share what is parsed: a second model of one process parses nothing again."""
    return Files({"sglang": tree.root}, parsed=_PARSED.setdefault(tree, {}))
