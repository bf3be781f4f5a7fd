"""Puts an observed function in the place of a FlashInfer API, in the module that defines it.

It is done right after the module was executed, so that every later `from flashinfer import X` binds
the observed one. Of a planned class `plan`, `begin_forward`, `run` and the partial methods of `run`
are replaced; `forward()` sets attributes and calls `run`, where they are read.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from kernelkit.capture.recorder.observer import ObservedApi, Observer
from kernelkit.capture.recorder.settings import VARIABLE, Settings
from kernelkit.capture.recorder.sink import Sink

_SERIALS = itertools.count()
PRIVATE_PARTS = ("core",)  # modules that a path in a tag leaves out, besides those with "_"


@functools.cache
def observer() -> Observer:
    """The observer of this process, made from the settings that the parent wrote."""
    settings = Settings.read(Path(os.environ[VARIABLE]))
    sink = Sink(settings)
    sink.observer = Observer(settings, sink)
    return sink.observer


def observe_module(module: ModuleType) -> None:
    """Observe what this module defines and what is wanted."""
    watching = observer()
    wanted = {path.rpartition(".")[2]: path for path in watching.settings.apis}
    for name, item in list(vars(module).items()):
        if getattr(item, "__module__", None) != module.__name__ or name.startswith("_"):
            continue
        path = _path(module.__name__, name)
        if wanted and not _same_api(wanted.get(name), path):
            continue
        if isinstance(item, type):
            _observe_class(watching, item, wanted.get(name, path))
        elif callable(item) and (wanted or hasattr(item, "fi_trace")):
            setattr(module, name, _observed(watching, item, wanted.get(name, path), ""))


def _same_api(wanted: str | None, path: str) -> bool:
    """Whether a tag means this API. Tags name some modules loosely (flashinfer.gdn for
    flashinfer.gdn_decode): the first two parts need only begin alike.
    """
    if wanted is None:
        return False
    theirs, ours = wanted.split("."), path.split(".")
    return len(theirs) < 3 or ours[1].startswith(theirs[1])


def _path(module: str, name: str) -> str:
    """The dotted path as definitions write it: without private modules."""
    parts = [p for p in module.split(".") if not p.startswith("_") and p not in PRIVATE_PARTS]
    if len(parts) > 1 and parts[-1] == name:
        parts.pop()
    return ".".join([*parts, name])


def _observe_class(watching: Observer, owner: type, path: str) -> None:
    held = vars(owner)
    run, plan = held.get("run"), held.get("plan")
    if run is None or hasattr(run, "_kernelkit"):
        return
    if not watching.settings.apis and not hasattr(run, "fi_trace"):
        return
    seen_run = _observed(watching, run, path, "run")
    for name, item in list(held.items()):
        if item is run:
            setattr(owner, name, seen_run)
        elif isinstance(item, functools.partialmethod) and item.func is run:
            made = functools.partialmethod(seen_run, *item.args, **item.keywords)
            setattr(owner, name, made)
    if plan is not None:
        seen_plan = _observed(watching, plan, path, "plan")
        for name in [name for name, item in held.items() if item is plan]:
            setattr(owner, name, seen_plan)


def _observed(
    watching: Observer, original: Callable[..., Any], path: str, method: str
) -> Callable[..., Any]:
    if hasattr(original, "_kernelkit"):
        return original
    api = _api_of(original, path, method)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return watching.call(api, original, args, kwargs)

    call._kernelkit = True
    return call


def _api_of(original: Callable[..., Any], path: str, method: str) -> ObservedApi:
    signature = inspect.signature(original)
    parameters = [p for p in signature.parameters.values() if p.kind not in (p.VAR_KEYWORD,)]
    if method:
        parameters = parameters[1:]
    named = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    positional = [p.name for p in named if p.kind is not p.KEYWORD_ONLY]
    return ObservedApi(
        path=path,
        method=method,
        signature=str(signature),
        parameters=tuple(positional),
        defaults={p.name: p.default for p in named if p.default is not p.empty},
        serial=next(_SERIALS),
    )
