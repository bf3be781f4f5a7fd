"""The hot path: what happens around an observed call, in the caller's thread.

A call whose form, wrapper's plan and attributes were seen before, and that keeps no tensor, costs a
key and a counter; in a settled step (`settling`) most cost neither. Any other is queued for the
sink's thread with copies of its index tensors: on a GPU asynchronous ones into pinned memory,
ordered on the caller's stream, without waiting.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch

from kernelkit.capture.recorder import values
from kernelkit.capture.recorder.settings import Settings
from kernelkit.capture.recorder.settling import Settling
from kernelkit.capture.recorder.steps import HERE

# What forward() or plan() leave on a wrapper, and no argument of run() shows.
ATTRIBUTES = (
    "_kv_layout", "_causal", "_sm_scale", "_window_left", "_logits_soft_cap",
    "_pos_encoding_mode", "_rope_scale", "_rope_theta", "_backend", "_use_cuda_graph",
)  # fmt: skip
MAX_KEYS = 20_000  # of one wrapper's plan, or of all functions; then forgotten, and written again
MAX_FORMS = 50_000  # of all calls; a call of a further form is only counted
_DROPPED, _THINNED = -1, -2  # stand for a plan that was not kept: its runs say nothing
_SCALARS = (bool, int, float, str)
_MARK = "_kernelkit_subject"


@dataclass(frozen=True)
class ObservedApi:
    """A wrapped function or method. `method`: "plan", "run" or "" for a function."""

    path: str
    method: str
    signature: str
    parameters: tuple[str, ...]  # without self
    defaults: dict[str, Any]
    serial: int

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by parameter name; surplus positional ones as `*0`, `*1`."""
        named = dict(zip(self.parameters, args, strict=False))
        for position, value in enumerate(args[len(self.parameters) :]):
            named[f"*{position}"] = value
        return {**named, **kwargs}


@dataclass
class Subject:
    """What is known of one wrapper object, kept on the object itself."""

    serial: int
    plan: int | None = None
    keys: dict[Any, int] = field(default_factory=dict)
    lone: int | None = None  # the entry of all runs since the plan, if the plan before had one, too
    had_one: bool = False  # the runs of the plan before were all alike


@dataclass
class Entry:
    """A call on its way to the sink."""

    serial: int
    api: ObservedApi
    key: Any
    arguments: dict[str, Any] | None  # JSON form, when the form is new
    tensors: dict[str, torch.Tensor]  # host copies
    ready: Any  # a CUDA event after which the copies are whole, or None
    attributes: dict[str, Any]
    subject: int | None
    plan: int | None  # serial of the planning entry
    step: int
    mode: str | None
    layer: int | None
    time_ns: int
    size_bytes: int
    completed: bool = True


class Observer:
    """Makes entries. `sink` has `put(entry)`; it reads `repeats` and `skipped` and empties them."""

    def __init__(self, settings: Settings, sink: Any) -> None:
        self.settings = settings
        self.sink = sink
        self.off = False
        self.repeats: Counter[int] = Counter()
        self.skipped: Counter[str] = Counter()
        self._serials = itertools.count()
        self._subjects = itertools.count()
        self._functions = Subject(-1)
        self._forms: dict[Any, int] = {}  # key of a form -> contents kept of it
        self._settling = Settling(settings)
        self._keeping: set[int] = set()  # serials of APIs with a call whose tensors were kept
        self._inside = 0  # the thread that is in an observed call

    def call(self, api: ObservedApi, original: Any, args: tuple, kwargs: dict) -> Any:
        """Run `original`, observed; never raises anything of its own."""
        thread = threading.get_ident()
        if self._inside == thread or self.off or torch.compiler.is_compiling():
            return original(*args, **kwargs)
        try:
            entry = None if self._is_settled(api, args) else self._before(api, args, kwargs)
        except Exception as error:  # the process matters more than the recording
            entry = None
            self.skipped[f"error: {type(error).__name__}: {error}"[:200]] += 1
        self._inside = thread  # FlashInfer's calls of its own APIs are not the model's
        try:
            return original(*args, **kwargs)
        except BaseException:
            if entry is not None:
                entry.completed = False
            raise
        finally:
            self._inside = 0
            if entry is not None:
                self.sink.put(entry)

    def _is_settled(self, api: ObservedApi, args: tuple) -> bool:
        """Whether the call needs no look: a settled step has counted it already, it is a run like
        the first one after its plan, or a thinned step's."""
        settling = self._settling
        if HERE.step != settling.step:
            settling.turn(HERE, self.repeats)
        if not settling.settled:
            return False
        if not api.method:
            if api.serial not in self._keeping:
                return True
            return settling.thinned and self._thin()
        subject = args[0].__dict__.get(_MARK)
        if subject is None:
            return False
        if api.method == "plan":
            return settling.thinned and self._thin(subject)
        if subject.plan == _THINNED:
            return True
        if subject.lone is None or api.serial in self._keeping:
            return False
        self.repeats[subject.lone] += 1
        return True

    def _thin(self, subject: Subject | None = None) -> bool:
        """Leave a call out that would be kept; runs after a plan that was say nothing."""
        self.skipped["thinned"] += 1
        if subject is not None:
            subject.plan = _THINNED
        return True

    def _before(self, api: ObservedApi, args: tuple, kwargs: dict) -> Entry | None:
        """The entry of a call that is to be written, or None."""
        subject, attributes = self._functions, ()
        if api.method:
            owner, *args = args
            subject = owner.__dict__.get(_MARK) or self._subject(owner)
            if api.method == "run":
                attributes = tuple(map(owner.__dict__.get, ATTRIBUTES))
        form = (api.serial, values.key_of(args), values.key_of_named(kwargs) if kwargs else ())
        key = (form, attributes)
        if _is_capturing():
            self.skipped["graph_capture"] += 1
            return None
        known = subject.keys.get(key)
        if known is not None and api.method != "plan":
            self.repeats[known] += 1
            if subject is self._functions:
                self._settling.counted[known] += 1
            return None
        return self._entry(api, subject, key, tuple(args), kwargs)

    def _entry(
        self, api: ObservedApi, subject: Subject, key: Any, given: tuple, kwargs: dict
    ) -> Entry | None:
        form, attributes = key
        named = api.named(given, kwargs)
        tensors = dict(_kept(named, self.settings.max_tensor_bytes))
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        contents = self._forms.get(form)
        if reason := self._refusal(api, subject, contents, size):
            self.skipped[reason] += 1
            if api.method == "plan":
                subject.plan, subject.keys = _DROPPED, {}
            return None
        serial = next(self._serials)
        self._remember(api, subject, key, serial, is_kept=bool(tensors))
        copies, ready = _copied(tensors)
        return Entry(
            serial=serial, api=api, key=form,
            arguments=None if contents is not None else _encoded(named),
            tensors=copies, ready=ready,
            attributes={n[1:]: v for n, v in zip(ATTRIBUTES, attributes, strict=False)
                        if v is not None and isinstance(v, _SCALARS)},
            subject=None if subject is self._functions else subject.serial,
            plan=None if api.method == "plan" else subject.plan,
            step=HERE.step, mode=HERE.mode, layer=HERE.layer, time_ns=time.time_ns(),
            size_bytes=size,
        )  # fmt: skip

    def _refusal(
        self, api: ObservedApi, subject: Subject, contents: int | None, size: int
    ) -> str | None:
        """Why this call is only counted, or None."""
        if subject.plan in (_DROPPED, _THINNED) and api.method != "plan":
            return "plan_dropped" if subject.plan == _DROPPED else "thinned"
        if contents is None and len(self._forms) >= MAX_FORMS:
            return "forms"
        if size and (contents or 0) >= self.settings.max_contents_per_form:
            return "contents_per_form"
        full = self.sink.pending_bytes + size > self.settings.max_pending_bytes
        return "memory" if full else None

    def _remember(
        self, api: ObservedApi, subject: Subject, key: Any, serial: int, *, is_kept: bool
    ) -> None:
        """Count the form's contents; a plan begins a new set of keys for its wrapper."""
        self._forms[key[0]] = self._forms.get(key[0], 0) + 1
        if api.method == "plan":
            subject.had_one = len(subject.keys) == 1
            subject.plan, subject.keys, subject.lone = serial, {}, None
        elif is_kept:
            self._keeping.add(api.serial)
        else:
            if len(subject.keys) >= MAX_KEYS:
                subject.keys.clear()
            subject.keys[key] = serial
            if subject is self._functions:
                self._settling.is_new = True
            else:
                subject.lone = serial if subject.had_one and len(subject.keys) == 1 else None

    def _subject(self, owner: Any) -> Subject:
        found = owner.__dict__[_MARK] = Subject(next(self._subjects))
        return found


def _kept(named: dict[str, Any], limit: int) -> Any:
    for name, value in named.items():
        yield from values.kept(name, value, limit)


def _encoded(named: dict[str, Any]) -> dict[str, Any]:
    return {name: values.encode(value, name) for name, value in named.items()}


def _is_capturing() -> bool:
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def _copied(tensors: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Any]:
    """Host copies, and the event after which those from a GPU are whole."""
    copies = {name: _host_copy(tensor) for name, tensor in tensors.items()}
    if not any(tensor.is_cuda for tensor in tensors.values()):
        return copies, None
    event = torch.cuda.Event()
    event.record()
    return copies, event


def _host_copy(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.requires_grad:
        tensor = tensor.detach()
    if not tensor.is_cuda:
        return tensor.clone(memory_format=torch.contiguous_format)
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
