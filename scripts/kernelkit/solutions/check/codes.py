"""What the checker can find: a stable code, its severity, its meaning, and what to do about it.

1 interface, 2 packaging and build, 3 attention, 4 recurrent states, 5 experts and sparse indices,
6 norms, rotary embedding and sampling, 7 memory, 8 device and process, 9 the smoke run.
`wrapper_gotchas.md` explains each code; a test holds the two equal. `doctor` is the cause under
which diagnose_solution.py names the same mistake, where it does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Code:
    """A rule's severity, meaning, general fix, and the doctor's name of the cause."""

    severity: str
    meaning: str
    fix: str
    doctor: str = ""


CODES: dict[str, Code] = {
    # 1 the interface
    "KS100": Code(ERROR, "file is no solution", "mend the file as the format says"),
    "KS101": Code(ERROR, "run takes another number of arguments",
                  "take every input, and every output behind them with destination passing",
                  "wrong-number-of-arguments"),
    "KS102": Code(ERROR, "parameters stand in another order than the definition's inputs",
                  "arguments come by position: use the definition's order"),
    "KS103": Code(NOTE, "parameter names are not the definition's",
                  "use the definition's names, so that their order can be checked"),
    "KS104": Code(ERROR, "run needs an argument by keyword", "arguments come by position only",
                  "wrong-number-of-arguments"),
    "KS105": Code(ERROR, "an output argument is never used",
                  "write the result into it, or set destination_passing_style to false",
                  "destination-passing-flag"),
    "KS106": Code(WARNING, "destination passing, and yet run returns a value",
                  "the value is ignored: write the outputs, or switch destination passing off",
                  "destination-passing-flag"),
    "KS107": Code(ERROR, "run returns no value", "return the outputs in the definition's order",
                  "returns-nothing"),
    "KS108": Code(ERROR, "run returns another number of outputs",
                  "return one tensor for each output, in order", "wrong-number-of-outputs"),
    "KS109": Code(WARNING, "run returns a dict", "return a tuple in the definition's order"),
    "KS110": Code(ERROR, "entry point is no plain function of the entry file",
                  "define it with def, at top level", "entry-point-absent"),
    "KS111": Code(ERROR, "a shape is unpacked into another number of axes",
                  "unpack the axes that the definition declares"),
    "KS112": Code(ERROR, "a constant contradicts the definition",
                  "take the value from the tensors' shapes, or set the definition's"),
    "KS113": Code(WARNING, "an input that the reference uses is never read", "use it"),
    "KS114": Code(WARNING, "an optional input is used without a test for None",
                  "handle None as the reference does"),
    "KS115": Code(ERROR, "setup asks for what it is not given",
                  "its parameters are names of integer tensor inputs or of scalars"),
    "KS116": Code(WARNING, "the same sources stand in the dataset with the other passing style",
                  "flashinfer-bench 0.1.2 builds both as one: change a comment"),
    "KS117": Code(WARNING, "the definition's own reference takes its inputs in another order",
                  "correct the definition; arguments come in the order of its inputs"),
    "KS118": Code(ERROR, "the dataset has no such definition",
                  "derive it or copy it into the dataset, or correct the name"),
    "KS119": Code(WARNING, "flashinfer-bench 0.1.2 refuses the return annotation",
                  "annotate a tuple of as many tensors as there are outputs, or nothing"),
    # 2 packaging and build
    "KS201": Code(ERROR, "own file is imported absolutely",
                  "import it relatively (from .name import ...)", "module-not-found"),
    "KS202": Code(WARNING, "the import path is changed", "import relatively and drop this line"),
    "KS203": Code(ERROR, "source file is empty", "put a comment into it, or delete it"),
    "KS204": Code(ERROR, "imported own module or name is absent",
                  "add the file to the solution, or correct the import", "module-not-found"),
    "KS205": Code(WARNING, "package is imported and not declared", "add it to spec.dependencies"),
    "KS206": Code(NOTE, "package is not installed here", "install it to try the solution here"),
    "KS207": Code(ERROR, "source is not valid Python", "mend the syntax", "syntax-error"),
    "KS208": Code(ERROR, "source path is unsafe or clashes", "use plain relative paths with /"),
    "KS209": Code(WARNING, "own file has the name of a library module", "rename it"),
    "KS210": Code(WARNING, "CuTe DSL without a version",
                  "pin it (nvidia-cutlass-dsl==4.5.2): its ABI changes between releases"),
    "KS211": Code(ERROR, "header is not among the sources",
                  "vendor it: the builder adds no include folder"),
    "KS212": Code(ERROR, "entry function is not exported for its binding",
                  "export it as the binding wants", "entry-point-absent"),
    "KS213": Code(ERROR, "language and entry file do not fit",
                  "name the file as the language wants"),
    "KS214": Code(WARNING, "code is compiled inside run",
                  "compile at import, or once behind a module-level variable"),
    # 3 attention
    "KS301": Code(ERROR, "log-sum-exp in base e",
                  "multiply by log2(e), i.e. divide by math.log(2)", "lse-base-e"),
    "KS302": Code(WARNING, "log-sum-exp converted to base 2 twice",
                  "FlashInfer returns base 2: return it as it is", "lse-base2-twice"),
    "KS303": Code(WARNING, "backend whose log-sum-exp may have another base",
                  "compare with the reference once, convert by backend", "lse-base-e"),
    "KS304": Code(ERROR, "cache is taken for HND", "the definition is NHD: kv_layout='NHD'",
                  "kv-layout-hnd"),
    "KS305": Code(ERROR, "kv_last_page_len is ignored",
                  "length = (pages - 1) * page_size + kv_last_page_len", "last-page-len-ignored"),
    "KS306": Code(WARNING, "kv_last_page_len is longer than the batch", "take [:batch] of it"),
    "KS307": Code(ERROR, "page ids are used as token ids",
                  "token = page * page_size + offset in the page", "page-ids-as-token-ids"),
    "KS308": Code(ERROR, "only the first token of each page is read",
                  "flatten pages and offsets, or index both", "first-token-of-page-only"),
    "KS309": Code(WARNING, "causal mask without the offset kv_len - q_len",
                  "query i sees keys up to i + kv_len - q_len: tril(kv_len - q_len)",
                  "causal-offset-missing"),
    "KS310": Code(WARNING, "key heads are expanded in the wrong order",
                  "repeat_interleave(group, dim), or index by head // group",
                  "gqa-repeat-for-interleave"),
    "KS311": Code(ERROR, "softmax scale of the absorbed dimensions",
                  "use sm_scale: it comes from the head size before absorption (192)",
                  "sm-scale-1-sqrt-576"),
    "KS312": Code(WARNING, "softmax scale is the library's default", "pass sm_scale"),
    "KS313": Code(ERROR, "latent and rotary parts are joined in different orders",
                  "join both as [nope, pe] and [ckv, kpe]", "latent-join-order"),
    "KS314": Code(WARNING, "values are taken with the rotary part",
                  "values are the latent (ckv) alone", "values-from-joined-cache"),
    "KS315": Code(WARNING, "requests without tokens are not handled",
                  "give 0 and a log-sum-exp of -inf where a request has no key",
                  "empty-request-nan"),
    "KS316": Code(NOTE, "a finite number stands for minus infinity",
                  "return -inf where a row sees no key", "empty-request-mean"),
    # 4 recurrent states
    "KS401": Code(ERROR, "state is given to a [K, V] kernel as it is",
                  "the definition's state is [V, K]: transpose it in and out, or use the flag",
                  "state-transposed"),
    "KS402": Code(WARNING, "state layout flag of one release",
                  "choose the flag by inspect.signature: its name changed"),
    "KS403": Code(WARNING, "gate formula is incomplete",
                  "decay = exp(-exp(A_log) * softplus(a + dt_bias))", "softplus-missing"),
    "KS404": Code(ERROR, "gate has the wrong form for this kernel",
                  "FLA takes the log of the decay, FlashInfer the decay in (0, 1]",
                  "decay-as-log-gate"),
    "KS405": Code(WARNING, "b is used without a sigmoid", "beta = sigmoid(b)",
                  "beta-without-sigmoid"),
    "KS406": Code(WARNING, "a scale of 0 or None is not handled",
                  "scale = scale or head_size ** -0.5"),
    "KS407": Code(WARNING, "state is rounded below float32", "keep states in float32"),
    "KS408": Code(WARNING, "padding slots are not handled",
                  "a slot below 0 is padding: clamp the index and mask the result",
                  "padding-reads-last-slot"),
    "KS409": Code(WARNING, "queries and keys are normalised by the kernel",
                  "pass use_qk_l2norm=False: the definition takes them as they come"),
    # 5 experts and sparse indices
    "KS501": Code(WARNING, "activation scales are used without a transposition",
                  "hidden_states_scale is [blocks, tokens]: transpose it",
                  "activation-scale-transposed"),
    "KS502": Code(WARNING, "routing weights contain the bias",
                  "select with the bias, gather the weights from the scores without it",
                  "bias-in-routing-weights"),
    "KS503": Code(NOTE, "low-bit product accumulates otherwise than the reference",
                  "look at the matched ratio of the trace before you look for a bug"),
    "KS504": Code(WARNING, "indexer cache is split token by token",
                  "a page holds the keys of all its tokens, then all scales",
                  "index-cache-packed-by-token"),
    "KS505": Code(WARNING, "top-k of a fixed count",
                  "take min(k, candidates) and fill the rest with -1"),
    "KS506": Code(WARNING, "padding of sparse_indices is not masked",
                  "an index of -1 is no token", "padding-not-masked"),
    "KS507": Code(WARNING, "gate and up may be swapped",
                  "gemm1 gives [up; gate]: silu(second half) * first half", "gate-up-swapped"),
    # 6 norms, rotary embedding, sampling
    "KS601": Code(WARNING, "epsilon is not the definition's", "use the reference's epsilon",
                  "eps-wrong"),
    "KS602": Code(WARNING, "rotary pairs are not the definition's",
                  "NEOX pairs i with i + dim / 2, the other style 2 i with 2 i + 1",
                  "rope-interleaved-for-neox"),
    "KS603": Code(WARNING, "cos_sin_cache is read as interleaved",
                  "its first half holds cosines, its second sines", "rope-cache-interleaved"),
    "KS604": Code(WARNING, "Gemma's norm without 1 + weight", "multiply by 1 + weight",
                  "gemma-plus-one-missing"),
    "KS605": Code(WARNING, "sampling without randomness", "draw from the distribution",
                  "always-likeliest"),
    # 7 memory
    "KS701": Code(ERROR, "an input is changed", "work on a copy (clone), or out of place",
                  "inputs-modified"),
    "KS702": Code(ERROR, "an input is given to an API that writes it", "pass a clone",
                  "inputs-modified"),
    "KS703": Code(NOTE, "what may be an input's memory is changed",
                  "make the copy explicit, if it is one"),
    "KS704": Code(ERROR, "accumulates into uninitialised memory", "start from zeros"),
    "KS705": Code(WARNING, "uninitialised output is written on some paths only",
                  "start from zeros (and -inf for a log-sum-exp)"),
    "KS706": Code(WARNING, "a returned tensor is not contiguous", "call .contiguous()"),
    "KS707": Code(WARNING, "squeeze() without a dimension",
                  "name the dimension: a batch of 1 goes, too", "squeezed-dimension"),
    "KS708": Code(ERROR, "output has another element type than declared",
                  "convert to the definition's type", "wrong-dtype"),
    "KS709": Code(WARNING, "32-bit indices where 64 bits are needed", "convert with .long()"),
    "KS710": Code(WARNING, "offsets of 32 bits for a kernel that wants 64",
                  "convert with .to(torch.int64)"),
    "KS711": Code(WARNING, "32-bit offset in a Triton kernel",
                  "convert to tl.int64 before the product with a stride"),
    "KS712": Code(NOTE, "32-bit offset in a CUDA kernel", "compute the offset in int64_t"),
    "KS713": Code(WARNING, "masked load without `other` feeds a reduction",
                  "pass other=0.0: what stands in the padding may be NaN"),
    "KS714": Code(WARNING, "an output is an input's memory", "return a clone", "output-is-input"),
    "KS715": Code(NOTE, "computes in float64", "float32 is enough, and far faster"),
    # 8 device and process
    "KS801": Code(WARNING, "work on a stream of its own is not joined",
                  "wait_stream on both sides, or use the current stream"),
    "KS802": Code(ERROR, "the current stream is changed", "use `with torch.cuda.stream(...)`"),
    "KS803": Code(WARNING, "CUDA graph in run",
                  "launch directly; the evaluator replays graphs itself"),
    "KS804": Code(ERROR, "results are cached by address, identity or shape",
                  "compute every call: contents change while addresses and shapes repeat"),
    "KS805": Code(WARNING, "plan() inside run",
                  "declare setup(...): it runs outside the timed part"),
    "KS806": Code(NOTE, "waits for the device",
                  "keep lengths on the device, or read them in setup"),
    "KS807": Code(WARNING, "measures or synchronises by itself", "leave this to the evaluator"),
    "KS808": Code(WARNING, "device is hard-coded", "use the device of the inputs"),
    "KS809": Code(NOTE, "Triton launch without a device guard",
                  "with torch.cuda.device_of(x): Triton launches on the current device"),
    "KS810": Code(WARNING, "prints", "raise an error, or stay silent"),
    "KS811": Code(WARNING, "global state of torch is changed",
                  "use local generators and arguments"),
    "KS812": Code(WARNING, "threads or processes that nothing waits for", "wait for them in run"),
    "KS813": Code(WARNING, "uses the operating system or the network", "a kernel needs neither"),
    "KS814": Code(ERROR, "reaches into the program that runs it", "compute the outputs instead"),
    "KS815": Code(WARNING, "runs code that is not in its sources", "write the code out"),
    # 9 the smoke run
    "KS900": Code(NOTE, "smoke run was not done, or not whole",
                  "run it where what is missing exists"),
    "KS901": Code(ERROR, "fails to load", "import the entry file by hand to see it",
                  "does-not-load"),
    "KS902": Code(ERROR, "fails when called", "call it with tiny inputs"),
    "KS903": Code(ERROR, "does not end, or takes its process down", "see --timeout"),
    "KS904": Code(ERROR, "returns no set of outputs", "return the definition's outputs in order",
                  "output-is-no-tensor"),
    "KS905": Code(ERROR, "output has another shape", "give the definition's shape",
                  "wrong-shape"),
    "KS906": Code(ERROR, "output has another element type", "convert to the definition's type",
                  "wrong-dtype"),
    "KS907": Code(ERROR, "values differ from the reference's",
                  "diagnose_solution.py names the cause"),
    "KS908": Code(ERROR, "fails for requests without tokens",
                  "give what the reference gives: 0, and a log-sum-exp of -inf",
                  "fails-at-empty-request"),
    "KS909": Code(ERROR, "changes an input", "work on a copy", "inputs-modified"),
    "KS910": Code(ERROR, "new contents give an old result",
                  "keep nothing that depends on contents"),
    "KS911": Code(WARNING, "two equal calls differ",
                  "avoid atomics in floating point, or say so"),
    "KS912": Code(ERROR, "result depends on uninitialised memory", "write every element"),
    "KS913": Code(WARNING, "output is not contiguous", "call .contiguous()"),
    "KS914": Code(WARNING, "output shares memory with an input or an earlier output",
                  "return memory of its own", "output-is-input"),
    "KS915": Code(ERROR, "fails for an optional input of None or a scale of 0",
                  "handle them as the reference does"),
    "KS916": Code(ERROR, "wrong after setup", "make run right with and without setup"),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One fault: its code, the file (and line), what is wrong, and how to mend it."""

    code: str
    file: str
    message: str
    line: int | None = None
    fix: str = ""

    @property
    def severity(self) -> str:
        """`error`, `warning` or `note`, by the code."""
        return CODES[self.code].severity

    @property
    def place(self) -> str:
        """`file` or `file:line`."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        code = CODES[self.code]
        return {
            **asdict(self), "fix": self.fix or code.fix, "severity": code.severity,
            "meaning": code.meaning, "doctor": code.doctor,
        }  # fmt: skip
