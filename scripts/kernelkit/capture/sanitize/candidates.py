"""A call as a workload: its uuid by content, its tensors, and where it stands among others."""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kernelkit.capture.sanitize.apis import APIS
from kernelkit.capture.sanitize.calls import NO_DATA, Call, Origin, Unusable
from kernelkit.capture.sanitize.observed import Kept, Observed, Shaped
from kernelkit.capture.sanitize.payload import Payload
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.validate.workloads import index_inputs

NAMESPACE = uuid.UUID("8f0d9f0e-7f0c-5b63-9d3a-6b1f6a6c2a10")  # of this pack's workloads


@dataclass(frozen=True)
class Candidate:
    """A distinct workload. Its tensors are read again from `call` when it is chosen."""

    definition: Definition
    uuid: str
    axes: Mapping[str, int]
    features: Mapping[str, int]
    assumed: tuple[str, ...]
    call: Call | None  # None: follows from other calls (`derived_from`), nothing is stored
    derived_from: str = ""
    origin: Origin | None = None  # of what it follows from


def candidate(
    definition: Definition, axes: Mapping[str, int], observed: Observed, call: Call, store: str
) -> Candidate:
    """The workload of a call that fits a definition."""
    tensors = stored(definition, observed, store)
    return Candidate(
        definition=definition,
        uuid=identity(definition, axes, observed, tensors),
        axes=axes,
        features=_features(definition, axes, observed),
        assumed=observed.assumed,
        call=call,
    )


def observe_again(chosen: Candidate, strict: bool) -> Observed:
    """What the candidate's call says, read from the dump once more."""
    if chosen.call is None:
        return Observed({})
    return APIS[chosen.call.api].read(chosen.call, strict)


def stored(definition: Definition, observed: Observed, store: str) -> dict[str, Payload]:
    """The tensors that go into a blob.

    random: index tensors alone, which random values break. structural: settings of requests too.
    all: also float tensors, as far as they are the definition's inputs and the dump holds them.
    """
    indices = index_inputs(definition) if store == "random" else set()
    found = {}
    for name in definition.inputs:
        value = observed.inputs.get(name)
        if isinstance(value, Kept) and (store != "random" or name in indices):
            data = value.array.tobytes()
            found[name] = Payload(value.dtype, value.shape, data)
        elif (
            isinstance(value, Shaped) and store == "all" and (data := _recorded(value)) is not None
        ):
            found[name] = Payload(value.dtype, value.shape, data)
    return found


def _recorded(value: Shaped) -> bytes | None:
    """The bytes of a float tensor, None where the dump does not hold them."""
    if value.source is None:
        return None
    try:
        return value.source.read().data
    except Unusable as error:
        if error.kind == NO_DATA:
            return None
        raise


def identity(
    definition: Definition,
    axes: Mapping[str, int],
    observed: Observed,
    tensors: Mapping[str, Payload],
) -> str:
    """A uuid of the content, so that the same call gives the same workload on every run.

    Numbers count as float32 or as integers: the format's scalars have those types, and two
    recorders may print the last digit of a double differently.
    """
    digest = hashlib.sha256(json.dumps([definition.name, dict(axes)], sort_keys=True).encode())
    for name in definition.inputs:
        value = observed.inputs.get(name)
        if name in tensors:
            content = tensors[name].data
        elif isinstance(value, (int, float)):
            content = _number(scalar_of(value, definition, name))
        else:
            continue
        digest.update(f"{name} {len(content)} ".encode())
        digest.update(content)
    return str(uuid.uuid5(NAMESPACE, digest.hexdigest()))


def blob_digest(tensors: Mapping[str, Payload]) -> str:
    """A name by content for tensors that are stored together."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        head = json.dumps([name, tensor.dtype, list(tensor.shape), len(tensor.data)])
        digest.update(head.encode())
        digest.update(tensor.data)
    return digest.hexdigest()[:32]


def _number(value: float) -> bytes:
    if isinstance(value, int):
        return f"i{value}".encode()
    return b"f" + struct.pack("<f", value)


def _features(
    definition: Definition, axes: Mapping[str, int], observed: Observed
) -> dict[str, int]:
    """Sizes by which workloads are spread: variable axes but the pool's, the longest request."""
    found = {axis: size for axis, size in axes.items() if axis not in POOL_AXES}
    return found | dict(_longest(definition, observed))


POOL_AXES = ("num_pages", "pool_size", "state_cache_size", "max_seq_len")


def _longest(definition: Definition, observed: Observed) -> Iterator[tuple[str, int]]:
    for name in definition.inputs:
        value = observed.inputs.get(name)
        offsets = name.endswith("indptr") or name == "cu_seqlens"
        if offsets and isinstance(value, Kept) and len(value.array) > 1:
            yield f"longest of {name}", int((value.array[1:] - value.array[:-1]).max())


def scalar_of(value: Any, definition: Definition, name: str) -> int | float:
    """A number as the definition's type has it."""
    integer = definition.inputs[name].dtype.value.startswith("int")
    return int(value) if integer else float(value)
