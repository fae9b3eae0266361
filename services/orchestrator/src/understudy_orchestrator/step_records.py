"""The steps that a failover's document says were begun, tried and taken. Pure."""

from __future__ import annotations

import msgspec
from understudy_contracts.failovers import Failover, StepRecord


def taken(failover: Failover, name: str) -> bool:
    """Whether the step ended without error since the present phase was entered."""
    return any(not record.error for record in _ended(failover, name))


def tried(failover: Failover, name: str) -> bool:
    """Whether a soft step was at least tried since the present phase was entered."""
    return bool(_ended(failover, name))


def _ended(failover: Failover, name: str) -> list[StepRecord]:
    return [
        record
        for record in failover.steps
        if record.name == name and record.ended_at is not None and _is_of_present_phase(record, failover)
    ]


def _is_of_present_phase(record: StepRecord, failover: Failover) -> bool:
    """Not of an earlier time in the same phase either."""
    return record.phase is failover.phase and record.number > failover.steps_before_phase


def begin_step(failover: Failover, name: str, now_ms: int) -> tuple[list[StepRecord], int]:
    """The records with step `name` begun, and its number.

    One of this phase that was begun and never ended keeps its number: its taker died, and the agent must
    take the repetition for what it is. So does one that failed.
    """
    for position, record in enumerate(failover.steps):
        unfinished = record.ended_at is None or record.error
        last = position == len(failover.steps) - 1
        if record.name == name and unfinished and last and _is_of_present_phase(record, failover):
            again = msgspec.structs.replace(record, ended_at=None, error="", attempts=record.attempts + 1)
            return [*failover.steps[:position], again], record.number
    number = max((record.number for record in failover.steps), default=0) + 1
    return [*failover.steps, StepRecord(number, name, failover.phase, now_ms)], number


def end_step(failover: Failover, number: int, now_ms: int, error: str) -> list[StepRecord]:
    """The records with step `number` ended."""
    return [
        msgspec.structs.replace(record, ended_at=now_ms, error=error) if record.number == number else record
        for record in failover.steps
    ]
