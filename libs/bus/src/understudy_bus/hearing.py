"""Hearing machines: each says its whole state regularly, and at once after a change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from understudy_contracts.subjects import MachineAddress

from understudy_bus.connection import Bus


class Said(Protocol):
    """What a machine says of itself: a `Heartbeat`, or what a service reads of it."""

    @property
    def machine(self) -> str: ...

    @property
    def site(self) -> str: ...


S = TypeVar("S", bound=Said)


async def hear_machines(
    bus: Bus,
    kind: type[S],
    heard: Callable[[MachineAddress, S], Awaitable[None]],
    *,
    at_once: Callable[[MachineAddress, S], Awaitable[None]] | None = None,
) -> None:
    """Call `heard` for what each machine says of itself from now on; `at_once`, if it is given, for what it
    says out of turn, after a change.

    They come on subjects of their own and may overtake each other (`is_behind`).
    """
    for subject, callback in (
        (bus.subjects.all_heartbeats, heard),
        (bus.subjects.all_reports("state"), at_once or heard),
    ):
        await bus.hear(subject, kind, _if_of_itself(bus, callback))


def _if_of_itself(
    bus: Bus, heard: Callable[[MachineAddress, S], Awaitable[None]]
) -> Callable[[str, S], Awaitable[None]]:
    async def received(subject: str, said: S) -> None:
        address = bus.subjects.machine_of(subject)
        # The subject is guarded by the server, the body is only what the machine says of itself.
        if address is not None and (address.site, address.machine) == (said.site, said.machine):
            await heard(address, said)

    return received
