"""Call by call: what each one is a workload of, and what cannot be used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from kernelkit.capture.sanitize.apis import APIS
from kernelkit.capture.sanitize.calls import Call, LeftOut, TensorArg, Unusable
from kernelkit.capture.sanitize.candidates import Candidate, candidate
from kernelkit.capture.sanitize.gemms import ForwardSteps
from kernelkit.capture.sanitize.matching import Fit, Matcher
from kernelkit.capture.sanitize.observed import Observed
from kernelkit.capture.sanitize.outcome import Outcome

REMEMBERED = 4096  # forms of calls whose meaning is kept, so that layers are read once


@dataclass
class Reading:
    """Candidates by definition, and what else was seen, call by call."""

    matcher: Matcher
    strict: bool
    store: str
    outcome: Outcome = field(default_factory=Outcome)
    found: dict[str, dict[str, Candidate]] = field(default_factory=dict)
    steps: ForwardSteps = field(default_factory=ForwardSteps)
    _known: OrderedDict[object, tuple[Call, list[str]]] = field(default_factory=OrderedDict)

    def take(self, item: Call | Unusable | LeftOut) -> None:
        """One call, or why there is none."""
        if isinstance(item, Unusable):
            self.outcome.refuse(item)
            return
        if isinstance(item, LeftOut):
            self.outcome.notes[item.why] += item.count
            return
        self.outcome.calls += item.count
        api = APIS.get(item.api)
        if api is None or item.method != api.method:
            self.outcome.skip(item)
            return
        form = None if api.reads_values or self.store == "all" else _form(item)
        if form is not None and form in self._known:
            self._count(self._known[form][1], item.count)
            return
        try:
            observed = api.read(item, self.strict)
            names = self._place(item, observed)
        except Unusable as error:
            self.outcome.refuse(Unusable(error.kind, error.detail, item.place))
            return
        if form is not None and names:
            self._known[form] = (item, names)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def add(self, new: Candidate) -> None:
        """A candidate; one of the same content that was seen before stays."""
        self.found.setdefault(new.definition.name, {}).setdefault(new.uuid, new)

    def _place(self, call: Call, observed: Observed) -> list[str]:
        """Put a call under every definition that it fits; the names of those."""
        fits = self.matcher.fits(call.api, observed)
        right = [fit for fit in fits if not fit.differences]
        if not right:
            self.outcome.miss(call, observed, fits[0] if fits else None)
            return []
        for fit in right:
            self._fit(call, observed, fit)
        self.outcome.note(observed.notes)
        names = [fit.definition.name for fit in right]
        self._count(names, call.count)
        return names

    def _fit(self, call: Call, observed: Observed, fit: Fit) -> None:
        self.steps.see(fit.definition, dict(fit.axes), call.origin)
        self.add(candidate(fit.definition, fit.axes, observed, call, self.store))

    def _count(self, names: Iterable[str], count: int) -> None:
        for name in names:
            self.outcome.matched[name] += count


def _form(call: Call) -> object:
    """What a call's meaning follows from: its plan, and its arguments without their values."""
    arguments = tuple((name, _of(value)) for name, value in call.arguments.items())
    attributes = tuple(sorted((name, repr(v)) for name, v in call.attributes.items()))
    return call.api, id(call.plan), id(call.setup), call.from_plan, arguments, attributes


def _of(value: object) -> object:
    if isinstance(value, TensorArg):
        return value.shape, value.dtype
    if isinstance(value, (tuple, list)):
        return tuple(_of(item) for item in value)
    return value if value is None or isinstance(value, (int, float, str)) else type(value)
