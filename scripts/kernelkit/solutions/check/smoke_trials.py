"""The trials of a smoke run: what is called with what, and what each difference means."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kernelkit.ops.base import Inputs, OpFamily, Tolerance, generator
from kernelkit.solutions.check import smoke_inputs
from kernelkit.solutions.check.smoke_memory import (
    POISON,
    alike,
    copied,
    is_tensor,
    same_bits,
    start,
)
from kernelkit.solutions.check.smoke_subject import CallError, Subject

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

Tell = Callable[[str, str], None]


class Stale(Exception):
    """The solution gives results of earlier calls."""


def run_trials(
    subject: Subject, family: OpFamily, inputs: Inputs, tell: Tell, seconds: float = 60.0
) -> None:
    """The plain call, then all other trials as far as they fit into `seconds`."""
    from kernelkit.bench.isolation.calling import BadOutputError

    until = time.monotonic() + seconds
    trials = Trials(subject, family, inputs, tell)
    try:
        if trials.plain():
            left = [name for name, trial in trials.others() if not _tried(trial, until)]
            if left:
                tell("KS900", f"calls are slow here, not tried: {', '.join(left)}")
    except Stale:
        return
    except BadOutputError as error:
        tell("KS904", str(error))
    except CallError as error:
        tell("KS902", str(error))


def _tried(trial: Callable[[], None], until: float) -> bool:
    """Do one trial, if there is time left."""
    if time.monotonic() > until:
        return False
    trial()
    return True


class Trials:
    """One solution on one set of inputs. `slots` are the tensors whose addresses repeat."""

    def __init__(self, subject: Subject, family: OpFamily, inputs: Inputs, tell: Tell) -> None:
        self.subject = subject
        self.family = family
        self.inputs = inputs
        self.tell = tell
        self.tolerance: Tolerance = family.tolerance(subject.definition)
        self.slots = copied(inputs)
        self.want = subject.expected(inputs)
        self.first: Tensors = {}
        self.sound = False

    def others(self) -> list[tuple[str, Callable[[], None]]]:
        """Names and trials behind the plain call, what tells most first."""
        return [
            ("uninitialised memory", self.poisoned),
            ("other contents", self.new_contents),
            ("requests without tokens", self.without_tokens),
            ("optional inputs", self.options),
            ("equal calls", self.repeated),
            ("probes", self.probes),
            ("setup", self.after_setup),  # the last: what it keeps is for these contents
        ]

    def plain(self) -> bool:
        """The first call: form, values, memory. False where no more is worth trying."""
        got = self.subject.call(self.slots, self.want)
        if not self._form(got):
            return False
        self._memory(got)
        self.first = {name: value.clone() for name, value in got.items()}
        self._changed_inputs()
        message = self.judge(self.first, self.want, self.inputs)
        self.sound = not message
        if message:
            self.tell("KS907", message)
        return True

    def judge(self, got: Tensors, want: Tensors, inputs: Inputs) -> str:
        """What is wrong with the values; "" where they are right."""
        from kernelkit.bench.judge.rules import judge
        from kernelkit.dataset.trace import Status

        verdict = judge(self.subject.definition, got, want, inputs, self.tolerance)
        return "" if verdict.status is Status.PASSED else verdict.message or verdict.status.value

    def _form(self, got: Tensors) -> bool:
        sound = True
        for name, want in self.want.items():
            have = got[name]
            if have.shape != want.shape:
                self.tell("KS905", f"{name}: {list(have.shape)}, expected {list(want.shape)}")
                sound = False
            elif have.dtype != want.dtype:
                self.tell("KS906", f"{name}: {have.dtype}, expected {want.dtype}")
                sound = False
        return sound

    def _memory(self, got: Tensors) -> None:
        held = {start(v): n for n, v in self.slots.items() if is_tensor(v) and v.numel()}
        for name, value in got.items():
            if not value.is_contiguous():
                self.tell("KS913", f"{name}: strides {value.stride()} of {list(value.shape)}")
            if value.numel() and start(value) in held:
                self.tell("KS914", f"{name} lies in {held[start(value)]}")

    def _changed_inputs(self) -> None:
        for name, value in self.inputs.items():
            if is_tensor(value) and not same_bits(value, self.slots[name]):
                self.tell("KS909", f"{name} differs after the call")
        self._restore()

    def poisoned(self) -> None:
        """The same call with NaN in every new tensor and destination."""
        try:
            got = self.subject.call(copied(self.inputs), self.want, POISON)
        except CallError as error:
            self.tell("KS912", f"fails where new memory holds NaN: {error}")
            return
        for name, value in got.items():
            if not self.tolerance.samples and not alike(value, self.first[name]):
                self.tell("KS912", f"{name} differs where new memory holds NaN instead of 0")
                self.sound = False

    def repeated(self) -> None:
        """The first call once more, and once more."""
        if not self.sound:
            return
        again = self.subject.call(self.slots, self.want)
        held = {name: value.clone() for name, value in again.items()}
        self._restore()
        kept = self.subject.call(self.slots, self.want)
        self._restore()
        for name, value in again.items():
            shared = value.numel() and start(value) == start(kept[name])
            if shared and not self.subject.passing and start(value) not in self._input_starts():
                self.tell("KS914", f"{name} lies where the call before had put it")
            if not self.tolerance.samples and not same_bits(held[name], self.first[name]):
                self.tell("KS911", f"{name} differs between two calls on equal inputs")

    def _input_starts(self) -> set[int]:
        return {start(v) for v in self.slots.values() if is_tensor(v) and v.numel()}

    def new_contents(self) -> None:
        """Other contents at the addresses of the first call. Raises Stale where an old result came:
        then no later trial would mean anything."""
        if not self.sound:
            return
        definition = self.subject.definition
        fresh = self.family.vary(definition, self.inputs, generator(1, "smoke"))
        for name, value in fresh.items():
            if is_tensor(value):
                self.slots[name].copy_(value)
        want = self.subject.expected(fresh)
        message = self.judge(self.subject.call(self.slots, want), want, fresh)
        self._restore()
        if not message:
            return
        self.subject.renew()
        if anew := self.judge(self.subject.call(copied(fresh), want), want, fresh):
            self.tell("KS907", f"on other contents: {anew}")
            return
        self.tell("KS910", f"{message}; right after the solution was loaded anew")
        raise Stale

    def _restore(self) -> None:
        for name, value in self.inputs.items():
            if is_tensor(value):
                self.slots[name].copy_(value)

    def probes(self) -> None:
        """The family's inputs that show what plain ones hide."""
        definition = self.subject.definition
        if not self.sound:
            return
        for name, inputs in self.family.probes(definition, self.inputs, generator(2, "smoke")):
            want = self.subject.expected(inputs)
            if message := self.judge(self.subject.call(copied(inputs), want), want, inputs):
                self.tell("KS907", f"on inputs named {name}: {message}")

    def without_tokens(self) -> None:
        """Requests without tokens, or with fewer keys than queries."""
        for name, changed in smoke_inputs.without_tokens(self.inputs):
            self._variation("KS908", name, changed)

    def options(self) -> None:
        """Optional inputs of None; a scale of 0 and None."""
        for name, changed in smoke_inputs.options(self.subject.definition, self.inputs):
            self._variation("KS915", name, changed)

    def _variation(self, code: str, name: str, changed: Inputs) -> None:
        """A call on changed inputs; what the reference itself cannot do is left out."""
        if not self.sound:
            return
        try:
            want = self.subject.expected(changed)
        except Exception:  # a definition of others, whose reference fails
            return
        try:
            got = self.subject.call(copied(changed), want, POISON)
            message = self.judge(got, want, changed)
        except CallError as error:
            message = str(error)
        if message:
            self.tell(code, f"{name}: {message}")

    def after_setup(self) -> None:
        """setup, then run; then setup for other index contents, then run."""
        if self.subject.setup is None or not self.sound:
            return
        definition = self.subject.definition
        fresh = self.family.vary(definition, self.inputs, generator(3, "smoke"))
        for inputs in (self.inputs, fresh):
            want = self.subject.expected(inputs)
            if message := self._one_setup(copied(inputs), want, inputs):
                self.tell("KS916", message)
                return

    def _one_setup(self, inputs: Inputs, want: Tensors, original: Inputs) -> str:
        import inspect

        assert self.subject.setup is not None
        names = [name for name in inspect.signature(self.subject.setup).parameters]
        try:
            self.subject.setup(**{name: inputs[name] for name in names if name in inputs})
            return self.judge(self.subject.call(inputs, want), want, original)
        except CallError as error:
            return str(error)
        except Exception as error:
            self.subject.raise_if_cuda(error)
            return f"setup: {type(error).__name__}: {error}"
