"""The mistakes of gated-delta-rule wrappers, the likeliest first, as knobs of gdn.py."""

from __future__ import annotations

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor.mutant import Mutant, table

GATE = "decay = exp(-exp(A_log) * softplus(a + dt_bias)), in (0, 1]"
LAYOUT = "the definition's state is [V, K]: transpose it in and out, or set the library's flag"
RULE = "S = decay * S; S = S + beta * (v - S k) k^T; output = scale * S q"

ROWS = [
    ("state-transposed", "the state is taken and given as [K, V]", LAYOUT,
     {"state_in": "transposed", "state_out": "transposed"}),
    ("state-in-transposed", "the state that comes in is read as [K, V]", LAYOUT,
     {"state_in": "transposed"}),
    ("state-out-transposed", "the state that goes out is [K, V]", LAYOUT,
     {"state_out": "transposed"}),
    ("beta-without-sigmoid", "b is used as it comes", "beta = sigmoid(b)", {"beta": "raw"}),
    ("beta-sigmoid-twice", "the sigmoid is applied to b twice",
     "beta = sigmoid(b), once: here or in the library", {"beta": "twice"}),
    ("beta-doubled", "beta is 2 * sigmoid(b), as with negative eigenvalues", "beta = sigmoid(b)",
     {"beta": "doubled"}),
    ("beta-missing", "the update is not multiplied by beta", RULE, {"beta": "one"}),
    ("beta-wrong-function", "beta is softplus(b)", "beta = sigmoid(b)", {"beta": "softplus"}),
    ("beta-on-v-only", "beta multiplies v, not v - S k", RULE, {"rule": "beta-on-v"}),
    ("A-log-without-exp", "A_log is used for A", GATE, {"decay": "raw-A"}),
    ("A-log-without-exp", "the decay is exp(A_log * softplus(a + dt_bias))", GATE,
     {"decay": "A-as-given"}),
    ("decay-sign", "the decay is exp(+exp(A_log) * softplus(a + dt_bias)), above 1", GATE,
     {"decay": "positive"}),
    ("log-gate-as-decay", "the logarithm of the decay is used as the decay",
     "take exp of it; FLA takes the log gate, FlashInfer the decay in (0, 1]", {"decay": "log"}),
    ("decay-as-log-gate", "the decay goes where its logarithm is wanted: exp(decay) is used",
     "pass the log gate; FLA takes it, FlashInfer takes the decay in (0, 1]",
     {"decay": "exp-of-decay"}),
    ("decay-missing", "the state does not decay", GATE, {"decay": "one"}),
    ("softplus-missing", "the gate lacks the softplus", GATE, {"decay": "no-softplus"}),
    ("dt-bias-missing", "the gate lacks dt_bias", GATE, {"decay": "no-bias"}),
    ("dt-bias-outside-softplus", "dt_bias is added behind the softplus", GATE,
     {"decay": "bias-outside"}),
    ("A-missing", "the gate lacks A_log", GATE, {"decay": "no-A"}),
    ("decay-is-sigmoid", "the decay is sigmoid(a)", GATE, {"decay": "sigmoid"}),
    ("raw-gate-as-decay", "a is used as the decay", GATE, {"decay": "raw-a"}),
    ("raw-gate-as-log-gate", "a is used as the logarithm of the decay", GATE, {"decay": "exp-a"}),
    ("decay-base-2", "the decay is a power of 2", GATE, {"decay": "base-2"}),
    ("gva-repeat-for-interleave", "value head h uses key head h % num_k_heads (repeat, tile)",
     "key head is h // (num_v_heads // num_k_heads): repeat_interleave", {"heads": "tile"}),
    ("gva-first-head", "all value heads use key head 0",
     "key head is h // (num_v_heads // num_k_heads)", {"heads": "first"}),
    ("scale-missing", "the output is not scaled", "multiply by scale (0 or None: 1 / sqrt(K))",
     {"scale": "one"}),
    ("scale-twice", "the output is scaled twice",
     "multiply by scale once; a library may do it", {"scale": "squared"}),
    ("state-ignored", "the state that comes in is taken for zero", "start from the given state",
     {"state_in": "zero"}),
    ("delta-rule-missing", "the update is beta * v k^T, without - S k", RULE, {"rule": "plain"}),
    ("delta-of-undecayed-state", "S k is taken before the decay", RULE, {"rule": "undecayed"}),
    ("decay-after-update", "the decay comes behind the update", RULE, {"order": "decay-last"}),
    ("output-of-old-state", "the output reads the state before the token", RULE, {"read": "old"}),
    ("output-of-decayed-state", "the output reads the state before the update", RULE,
     {"read": "decayed"}),
    ("qk-swapped", "queries and keys are swapped", "pass q first, then k", {"query": "k"}),
]  # fmt: skip
STATE = [
    ("state-not-updated", "the state that came in is returned", "return the state after the "
     "last token", {"state_out": "old"}),
    ("state-zero", "the state that goes out is zero", "return the state after the last token",
     {"state_out": "zero"}),
]  # fmt: skip
PREFILL = [
    ("cu-seqlens-ignored", "the state runs on from one sequence into the next",
     "start each sequence from its own state: pass cu_seqlens", {"carry": "previous"}),
    ("state-reset-each-token", "each token starts from the initial state",
     "carry the state from token to token", {"carry": "reset"}),
]  # fmt: skip
MTP = [
    ("pool-updated", "the pool that is returned holds new states",
     "final_state equals initial_state; write intermediate_states_buffer", {"pool": "updated"}),
    ("slots-ignored", "request i uses slot i", "use initial_state_indices[request]",
     {"slots": "row"}),
    ("padded-slots-computed", "requests of slots below 0 get an output",
     "their output is 0", {"pads": "computed"}),
    ("state-reset-each-token", "each token starts from the initial state",
     "carry the state from token to token", {"carry": "reset"}),
]  # fmt: skip


def mutants(definition: Definition) -> list[Mutant]:
    """The mistakes that can show on this definition."""
    if "cu_seqlens" in definition.inputs:
        return table(ROWS + STATE + PREFILL)
    return table(ROWS + (MTP if "initial_state" in definition.inputs else STATE))
