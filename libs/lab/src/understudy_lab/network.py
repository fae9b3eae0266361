"""A place elsewhere: a network namespace of its own, at the end of cables that can be cut. Needs root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from understudy_lab.faults import program, require_root, run

# For measuring networks (RFC 2544): nobody's own network is there.
_BLOCK = IPv4Network("198.18.0.0/15")
_NETWORKS = _BLOCK.num_addresses // 4
_MOST_CABLES = 4


@dataclass(frozen=True)
class Cable:
    """One cable: the addresses of its end here and of its end in the place."""

    place: str
    device: str
    here: str
    there: str

    def cut(self) -> None:
        """Nothing passes any more, either way; nobody is told."""
        run("ip", "netns", "exec", self.place, "ip", "link", "set", self.device, "down")

    def mend(self) -> None:
        run("ip", "netns", "exec", self.place, "ip", "link", "set", self.device, "up")


@dataclass(frozen=True)
class Place:
    """`into` put before a command has it run there."""

    name: str
    cables: list[Cable]
    into: list[str]


@contextlib.contextmanager
def elsewhere(cables: int = 1) -> Iterator[Place]:
    """A place with so many (at most four) cables to here, each a network of its own; gone when the context is
    left.

    Raises:
        CannotInject: it cannot be made here.
    """
    require_root("make a network namespace")
    ip = program("ip", "iproute2")
    # Of two runs at once on one machine, each has names and networks of its own.
    name, first = f"understudy-{os.getpid()}", os.getpid() * _MOST_CABLES % _NETWORKS
    with contextlib.ExitStack() as stack:
        run(ip, "netns", "add", name)
        stack.callback(run, ip, "netns", "delete", name)
        run(ip, "-n", name, "link", "set", "lo", "up")
        laid = []
        for number in range(cables):
            here, there = (str(_BLOCK[4 * (first + number) + end]) for end in (1, 2))
            near, far = f"us{os.getpid()}h{number}", f"us{os.getpid()}t{number}"
            run(ip, "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
            stack.callback(run, ip, "link", "delete", near)
            run(ip, "address", "add", f"{here}/30", "dev", near)
            run(ip, "link", "set", near, "up")
            run(ip, "-n", name, "address", "add", f"{there}/30", "dev", far)
            run(ip, "-n", name, "link", "set", far, "up")
            laid.append(Cable(name, far, here, there))
        yield Place(name, laid, [ip, "netns", "exec", name])
