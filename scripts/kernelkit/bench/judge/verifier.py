"""The verifier's process: it makes inputs and expected outputs, looks at what a solution left in
the shared memory, and judges. It never imports a solution.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from kernelkit.bench import device as devices
from kernelkit.bench.isolation.channel import Channel, serve
from kernelkit.bench.judge.equipment import Device
from kernelkit.bench.judge.station import Station
from kernelkit.bench.limits import ceilings, device_facts
from kernelkit.dataset.definition import Definition

OF_THE_STATION = (
    "make_arena", "workload", "fill", "expect", "rehearse", "check", "check_each", "collect",
    "judge_draws", "judge_places", "time_reference", "copies_ms", "open_gate", "close_gate",
)  # fmt: skip


def main(descriptor: int) -> None:
    """Serve requests on the socket `descriptor` until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Channel(socket.socket(fileno=descriptor)), Verifier().handlers())


class Verifier:
    """One device; a station for each definition that is taken up, one of them in hand."""

    def __init__(self) -> None:
        self.stations: dict[str, Station] = {}
        self.station: Station | None = None

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """What it can be asked for."""
        own = {"start": self.start, "measure": self.measure, "define": self.define,
               "take": self.take, "leave": self.leave}  # fmt: skip
        return {**own, **{name: self._of_the_station(name) for name in OF_THE_STATION}}

    def _of_the_station(self, name: str) -> Callable[..., Any]:
        return lambda **arguments: getattr(self.station, name)(**arguments)

    def start(self, device: str) -> dict[str, Any]:
        """Open the device. Returns its hardware, libraries and clock, and its ceilings if they are
        kept."""
        self.device = Device(device)
        gate, limits = self.device.gate, ceilings.load(_key(device))
        return {
            "hardware": devices.hardware(device), "libs": devices.libraries(),
            "events": gate.handles if gate is not None else [],
            "free_bytes": self.device.free_bytes(),
            "ceilings": limits.to_json() if limits else None,
        }  # fmt: skip

    def measure(self) -> dict[str, Any]:
        """Measure the device's ceilings, and keep them. Nothing else may run on it."""
        return ceilings.current(self.device.name).to_json()

    def define(
        self, name: str, definition: dict[str, Any], tolerance: dict[str, Any]
    ) -> dict[str, Any]:
        """Set up a station for a definition and take it in hand; `tolerance` replaces parts of the
        family's. Returns what holds."""
        self.station = self.stations[name] = Station(
            self.device, Definition.model_validate(definition), tolerance
        )
        return self.station.facts()

    def take(self, name: str) -> bool:
        """Take a station in hand; what the one before has kept is let go."""
        before, self.station = self.station, self.stations[name]
        if before is not None and before is not self.station:
            before.rest()
        return True

    def leave(self, name: str) -> bool:
        """Give up a station and its arena, if there is one of the name."""
        station = self.stations.pop(name, None)
        if station is not None:
            station.close()
            self.station = None if self.station is station else self.station
        return True


def _key(device: str) -> str:
    return ceilings.device_key(*device_facts.identify(device))


if __name__ == "__main__":
    main(int(sys.argv[1]))
