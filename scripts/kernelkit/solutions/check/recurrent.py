"""Rules of recurrent states (gdn, mamba): layout, gates, scale, precision, padding slots."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.syntax import Function, Module, keyword, literal, names_in

STATES = frozenset(("state", "initial_state"))
SLOTS = frozenset(("initial_state_indices", "state_batch_indices"))
FLAGS = ("transpose_state_layout", "state_v_first")
# Entry points that compute the gates from a, b, A_log and dt_bias themselves.
_TAKES_RAW = re.compile(r"gated_delta_rule_(decode|mtp)|fused_sigmoid_gating|use_gate_in_kernel")
_FLA = re.compile(r"^fla\b.*gated_delta_rule")
_NORMALISES = re.compile(r"^flashinfer\b.*gated_delta_rule_(decode|decode_pretranspose|mtp)$")
_FLASHINFER = re.compile(r"^flashinfer\b.*chunk_gated_delta_rule")


def _is_gdn(context: Context) -> bool:
    return context.definition.op_type == "gdn"


def _gdn_calls(context: Context, pattern: re.Pattern[str]) -> Iterator[tuple[Module, ast.Call]]:
    for module in context.modules.values():
        for node, dotted in module.calls:
            if pattern.search(dotted):
                yield module, node


def state_layout(context: Context) -> Iterator[Finding]:
    """KS401, KS402: FLA keeps [K, V], the definitions [V, K]; the flag was renamed."""
    if not _is_gdn(context):
        return
    for module, node in _gdn_calls(context, _FLA):
        given = {k.arg for k in node.keywords} & set(FLAGS)
        state = keyword(node, "initial_state")
        splat = any(k.arg is None for k in node.keywords)
        if given and not context.mentions(r"inspect\.signature|TypeError"):
            text = f"{', '.join(sorted(given))}: FLA 0.5.0 has the first, later releases the second"
            yield finding("KS402", module, node, f"{text} of {', '.join(FLAGS)}")
        turned = re.search(r"transpose|\.mT|swapaxes|permute|\.T\b", _history(context, state))
        if not given and not splat and state is not None and literal(state) is None and not turned:
            if not isinstance(state, ast.Constant):
                text = "K = V = 128 hides it: the shape is right and the values are not"
                yield finding("KS401", module, node, text)


def _history(context: Context, node: ast.AST | None) -> str:
    """The text of an expression and of every assignment to the names in it, two levels deep."""
    if node is None:
        return ""
    text, names = ast.unparse(node), names_in(node)
    for _ in range(2):
        for module in context.modules.values():
            for held in module.nodes:
                if isinstance(held, ast.Assign) and names_in(held.targets[0]) & names:
                    line = ast.unparse(held)
                    if line not in text:
                        text = f"{text}\n{line}"
                        names = names | names_in(held.value)
    return text


def gates(context: Context) -> Iterator[Finding]:
    """KS403, KS405 where the sources compute the gates themselves."""
    if not _is_gdn(context) or not context.is_python or context.run is None or context.home is None:
        return
    if context.mentions(_TAKES_RAW.pattern):
        return
    missing = []
    if not context.mentions(r"\bexp\w*\(|\bexp2?\b"):
        missing.append("exp(A_log)")
    if not context.mentions(r"softplus|log1p|logaddexp|log\(1(\.0)? \+|log2\("):
        missing.append("softplus(a + dt_bias)")
    if missing:
        yield finding("KS403", context.home, context.run, f"no {' and no '.join(missing)}")
    if not context.mentions(r"(?i)sigmoid|/ \(1(\.0)? \+ [\w.]*exp2?\(-|tanh\("):
        yield finding("KS405", context.home, context.run, "b is the raw gate, beta = sigmoid(b)")


def gate_form(context: Context) -> Iterator[Finding]:
    """KS404: the last operation on what is passed as g."""
    if not _is_gdn(context):
        return
    for event in context.events("call"):
        gate = event.keywords.get("g")
        if gate is None or not isinstance(event.node, ast.Call):
            continue
        dotted = event.module.dotted(event.node.func)
        linear = _ends_in_exp(event.module, keyword(event.node, "g"))
        if _FLA.search(dotted) and linear is True:
            yield at("KS404", event, "FLA wants the logarithm of the decay, this is the decay")
        elif _FLASHINFER.search(dotted) and linear is False:
            yield at("KS404", event, "FlashInfer wants the decay in (0, 1], this is its logarithm")


def _ends_in_exp(module: Module, node: ast.AST | None, depth: int = 0) -> bool | None:
    """Whether an expression's outermost operation is exp; None where it cannot be followed."""
    if isinstance(node, ast.Name) and depth < 4:
        bound = [
            n.value
            for n in module.nodes
            if isinstance(n, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == node.id for t in n.targets)
        ]
        return _ends_in_exp(module, bound[-1], depth + 1) if bound else None
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in ("to", "float", "contiguous", "unsqueeze", "view", "reshape"):
            return _ends_in_exp(module, node.func.value, depth + 1)  # type: ignore[attr-defined]
        return name in ("exp", "exp_") if name else None
    if isinstance(node, (ast.UnaryOp, ast.BinOp)):
        return False
    return None


def normalisation(context: Context) -> Iterator[Finding]:
    """KS409: FlashInfer's decode kernels normalise q and k unless they are told not to."""
    if not _is_gdn(context) or re.search(r"(?i)l2norm|normalize", context.definition.reference):
        return
    for module, node in _gdn_calls(context, _NORMALISES):
        chosen = keyword(node, "use_qk_l2norm")
        if literal(chosen) is not False and not any(k.arg is None for k in node.keywords):
            yield finding("KS409", module, node, "use_qk_l2norm is true by default")
    for module, node in _gdn_calls(context, _FLA):
        if literal(keyword(node, "use_qk_l2norm_in_kernel")) is True:
            yield finding("KS409", module, node, "use_qk_l2norm_in_kernel=True")


def scale(context: Context) -> Iterator[Finding]:
    """KS406."""
    run, home = context.run, context.home
    own = context.stands_for({"scale"})
    if not _is_gdn(context) or run is None or home is None or not own:
        return
    name = next(iter(own))
    if name in names_in(ast.Module(body=run.body, type_ignores=[])) and not _tested(run, name):
        yield finding("KS406", home, run, "0 and None mean 1 / sqrt(head_size)")


def _tested(function: Function, name: str) -> bool:
    """Whether anything asks for the truth or the value of a name, or hands it to an own helper."""
    for node in ast.walk(function):
        tested: ast.AST | None = None
        if isinstance(node, (ast.If, ast.IfExp)):
            tested = node.test
        elif isinstance(node, (ast.BoolOp, ast.Compare)):
            tested = node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            tested = ast.Tuple(elts=list(node.args), ctx=ast.Load())
        if tested is not None and name in names_in(tested):
            return True
    return False


def precision(context: Context) -> Iterator[Finding]:
    """KS407."""
    for event in context.events("call"):
        name = event.name.rpartition(".")[2]
        if name not in ("to", "half", "bfloat16", "type") or not event.value.data & STATES:
            continue
        role = next(iter(event.value.data & STATES))
        declared = context.definition.inputs[role].dtype.value
        asked = ast.unparse(event.node)
        if declared == "float32" and re.search(
            r"\.(half|bfloat16)\(\)$|torch\.(b?float16|half)\b", asked
        ):
            if event.value.alias & STATES and event.value.data <= STATES:
                yield at("KS407", event, f"{role} is float32: {asked}")


def padding_slots(context: Context) -> Iterator[Finding]:
    """KS408."""
    if not SLOTS & set(context.definition.inputs):
        return
    handled = r"clamp|>= ?0|< ?0|> ?-1|!= ?-1|== ?-1|pad_slot_id|torch\.where|tl\.where|relu"
    if context.mentions(handled):
        return
    for event in context.events("index"):
        index = event.args[0]
        if event.value.data & STATES and index.data & SLOTS:
            role = next(iter(index.data & SLOTS))
            yield at("KS408", event, f"{role} of -1 reads the last slot of the pool")
            return


RULES: tuple[Rule, ...] = (
    state_layout, gates, gate_form, normalisation, scale, precision, padding_slots,
)  # fmt: skip
