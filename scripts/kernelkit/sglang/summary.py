"""The answer as text: the module tree, then the kernels."""

from __future__ import annotations

from kernelkit.sglang.document import Implementation, KernelCall, Module


def summary(found: Implementation) -> str:
    """A page that a person reads at a glance."""
    lines = [
        f"{found.architecture} in SGLang {found.sglang_version}: {found.entry_class}, "
        f"{found.model_file}; attention backend {found.attention_backend}",
        "",
        *(_module(row) for row in found.modules),
        "",
        *(_kernel(call) for call in found.kernels if call.fi_api or call.op_type),
    ]
    hidden = sum(1 for call in found.kernels if not (call.fi_api or call.op_type))
    lines.append(f"and {hidden} calls of kernels without an op type (all are in the JSON)")
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def _module(row: Module) -> str:
    depth = row.path.count(".") - row.path.count(".*")
    where = f"{row.file}:{row.line}"
    optional = f"  if {row.condition}" if row.condition else ""
    return f"{row.count:>5} x {'  ' * depth}{row.name} {row.layer_class}  {where}{optional}"


def _kernel(call: KernelCall) -> str:
    traced = {True: " [template]", False: " [no template]", None: ""}[call.has_trace_template]
    api = f" = {call.fi_api}{traced}" if call.fi_api else ""
    condition = f"  if {call.condition}" if call.condition else ""
    return (f"  {call.op_type or '-':<12}{call.module}: {call.provider} {call.symbol}{api}  "
            f"{call.file}:{call.line}{condition}")  # fmt: skip
