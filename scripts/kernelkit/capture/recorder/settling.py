"""Steps that are like others before: most of their calls need no look any more.

The shapes of a decode step are those of every decode step with as many requests. Once CALM steps of
a form in a row have shown no new call of a function, the form is settled: calls without index
tensors are counted as in the last of those steps, and not looked at. It is they that are many (two
norms a layer). Of a form's settled steps the first `keep_steps` give their index contents as any
other does, and of those after them one in `then_every`; the others are thinned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from kernelkit.capture.recorder.settings import Settings
from kernelkit.capture.recorder.steps import Position

CALM = 2
MAX_FORMS = 1000  # of steps; those of a further one are all looked at


class Settling:
    """Whether the step in hand is settled, or thinned. The observer tells what it sees."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.step = 0
        self.settled = self.thinned = False
        self.is_new = False  # a call of a function had a form that was not known
        self.counted: Counter[int] = Counter()  # calls of functions in this step, by entry
        self._form: Hashable = None
        self._calm: dict[Hashable, int] = {}  # steps in a row, those that are settled among them
        self._calls: dict[Hashable, Counter[int]] = {}

    def turn(self, here: Position, repeats: Counter[int]) -> None:
        """A new step begins; the calls of one that is settled are counted at once."""
        if self._form is not None and not self.settled:
            self._close(self._form)
        self.step, self._form = here.step, here.form
        self.is_new = False
        self.counted.clear()
        calm = self._calm.get(self._form, 0)
        self.settled, self.thinned = calm >= CALM, False
        if self.settled:
            self._calm[self._form] = calm + 1
            repeats.update(self._calls[self._form])
            late = calm - CALM - self.settings.keep_steps
            self.thinned = late >= 0 and late % self.settings.then_every > 0

    def _close(self, form: Hashable) -> None:
        if form not in self._calm and len(self._calm) >= MAX_FORMS:
            return
        self._calm[form] = 0 if self.is_new else self._calm.get(form, 0) + 1
        self._calls[form] = Counter(self.counted)
