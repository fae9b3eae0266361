"""Which failover server takes over (M10). Pure: candidates in, a choice or the reason of each refusal out.

Order: fit (healthy, free, compatible, storage good), same site, capacity suffices, smallest difference
between capacity and cameras, id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from understudy_contracts.model import StorageState, Verdict


@dataclass(frozen=True)
class Candidate:
    """A paired failover server as it is now; `busy_with` names the failover that it serves or restores."""

    server: str
    name: str
    site: str
    machine: str | None
    capacity: int
    verdict: Verdict
    storage: StorageState
    busy_with: str | None = None
    disabled: bool = False
    answers: bool = True


@dataclass(frozen=True)
class Selection:
    """`chosen` is None when nobody fits; `rejected` says of each other why not."""

    chosen: Candidate | None
    rejected: Mapping[str, str] = field(default_factory=dict)


def refusal(candidate: Candidate) -> str | None:
    """Why this server cannot take over now, or None if it can."""
    if candidate.disabled:
        return "disabled"
    if candidate.machine is None:
        return "no machine has joined as this server yet"
    if candidate.busy_with is not None:
        return f"busy with {candidate.busy_with}"
    if candidate.verdict not in {Verdict.HEALTHY, Verdict.LATE}:
        return candidate.verdict.value.replace("-", " ")
    if not candidate.answers:
        return "does not answer"
    if candidate.storage is not StorageState.NORMAL:
        return f"storage {candidate.storage.value}"
    return None


def select(
    candidates: Sequence[Candidate], *, site: str, cameras: int, requested: str | None = None
) -> Selection:
    """The candidate that takes over a server of `site` with so many `cameras`; only `requested`, if given."""
    rejected: dict[str, str] = {}
    fit: list[Candidate] = []
    for candidate in candidates:
        why = refusal(candidate)
        if why is None and requested not in {None, candidate.server}:
            why = "another one was asked for"
        if why is None:
            fit.append(candidate)
        else:
            rejected[candidate.server] = why
    fit.sort(
        key=lambda c: (
            c.site != site,
            c.capacity < cameras,
            abs(c.capacity - cameras),
            c.server,
        )
    )
    return Selection(fit[0] if fit else None, rejected)
