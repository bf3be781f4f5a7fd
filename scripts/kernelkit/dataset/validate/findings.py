"""What the validator can find: a stable code, its severity and its meaning.

S breaks the format, R loads but fails or lies when it runs, I is silently ignored by readers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

ERROR, WARNING = "error", "warning"

CODES: dict[str, tuple[str, str]] = {
    # files and folders
    "P1": (ERROR, "file cannot be read"),
    "P2": (ERROR, "file name is not the definition's name"),
    "P3": (ERROR, "folder is not the op type"),
    "P4": (ERROR, "two definitions have one name"),
    "P5": (ERROR, "file makes the validator itself fail"),
    "P6": (WARNING, "file is read by nothing"),
    # the format
    "S0": (WARNING, "unknown field"),
    "S1": (ERROR, "dtype is not one of the format"),
    "S2": (ERROR, "reference is missing"),
    "S3": (ERROR, "reference is not Python with a top-level run"),
    "S4": (ERROR, "name is both input and output"),
    "S5": (ERROR, "const axis without a value, or negative"),
    "S6": (ERROR, "shape names an undeclared axis"),
    "S7": (ERROR, "constraint is not an expression"),
    "S8": (ERROR, "document does not follow the format"),
    "S9": (ERROR, "definition has no outputs"),
    "S10": (ERROR, "key occurs twice"),
    # the reference and the interface
    "R1": (ERROR, "run's positional parameters are not the inputs in order"),
    "R2": (ERROR, "run has keyword-only parameters"),
    "R3": (ERROR, "run takes *args or **kwargs"),
    "R4": (ERROR, "reference uses a name that nothing defines"),
    "R5": (ERROR, "reference imports flashinfer"),
    "R6": (ERROR, "run returns another number of values than there are outputs"),
    "R7": (ERROR, "variable axis is bound by no input"),
    "R8": (WARNING, "variable axis is bound by an optional input only"),
    "R9": (ERROR, "constraint uses unknown names"),
    "R10": (ERROR, "constraint has a construct that is not allowed"),
    "R11": (ERROR, "constraint is false whatever the workload"),
    "R12": (WARNING, "reference changes an input"),
    "R13": (WARNING, "reference imports more than torch and the standard library"),
    "R14": (ERROR, "reference fails on small inputs"),
    "R15": (ERROR, "reference returns other shapes or types than declared"),
    "R16": (WARNING, "reference was not run"),
    "I2": (WARNING, "optional output"),
    # sense
    "A1": (ERROR, "head counts do not divide"),
    "A2": (WARNING, "head dim is implausible"),
    "A3": (ERROR, "name contradicts the axes"),
    "A4": (ERROR, "fi_api tag is not a FlashInfer API"),
    # workloads
    "W0": (ERROR, "workload line cannot be read"),
    "W1": (ERROR, "workload of an absent definition"),
    "W2": (ERROR, "workload stands in another definition's file"),
    "W3": (ERROR, "workload line has a solution or an evaluation"),
    "W4": (ERROR, "axes are not the definition's variable axes"),
    "W5": (ERROR, "inputs are not the definition's inputs"),
    "W6": (ERROR, "source of an input does not fit it"),
    "W7": (ERROR, "two workloads have one uuid"),
    "W8": (ERROR, "constraint is false for this workload"),
    "W9": (WARNING, "axis is zero"),
    # recorded tensors
    "B1": (ERROR, "blob path leaves the dataset's blob folder"),
    "B2": (ERROR, "blob is absent"),
    "B3": (ERROR, "blob is a Git-LFS pointer"),
    "B4": (ERROR, "blob is not a safetensors file"),
    "B5": (ERROR, "blob has no such tensor"),
    "B6": (ERROR, "tensor has another shape"),
    "B7": (ERROR, "tensor has another dtype"),
    "B8": (ERROR, "offsets do not start at 0, fall, or end elsewhere"),
    "B9": (ERROR, "index is out of bounds"),
    "B10": (ERROR, "last page length is out of range"),
    # solutions
    "L0": (ERROR, "solution cannot be read"),
    "L1": (ERROR, "solution of an absent definition"),
    "L2": (WARNING, "solution stands in another folder than its author, op type and definition"),
    "L3": (ERROR, "two solutions have one name"),
    "L4": (ERROR, "source path is unsafe or collides"),
    "L5": (ERROR, "source is not valid Python"),
    "L6": (ERROR, "entry function is not defined"),
    "L7": (ERROR, "entry function takes another number of arguments"),
    # traces
    "T0": (ERROR, "trace line cannot be read"),
    "T1": (ERROR, "trace of an absent definition"),
    "T2": (ERROR, "trace of an absent solution"),
    "T3": (ERROR, "trace of an absent workload"),
    "T4": (WARNING, "speedup is not the quotient of the latencies"),
    "T5": (ERROR, "passed without a latency"),
    "T6": (ERROR, "trace without a solution or an evaluation"),
    "T7": (ERROR, "trace stands in another definition's file"),
    "T8": (WARNING, "trace's workload differs from the one of its uuid"),
}


@dataclass(frozen=True)
class Finding:
    """One fault: its code, the file (and line), the field, what is wrong, and how to mend it."""

    code: str
    file: str
    field: str
    message: str
    fix: str
    line: int | None = None

    @property
    def severity(self) -> str:
        """`error` or `warning`, by the code."""
        return CODES[self.code][0]

    @property
    def place(self) -> str:
        """`file` or `file:line`."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {**asdict(self), "severity": self.severity, "meaning": CODES[self.code][1]}
