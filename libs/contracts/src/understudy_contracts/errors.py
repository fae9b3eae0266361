"""Errors that cross a boundary. Each has a code for programs and a sentence for people."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it travels on the bus: what, why, what to do."""

    code: str
    message: str
    details: dict[str, Any] = {}


class UnderstudyError(Exception):
    """Base of the errors that our own code raises on purpose; the message is one clear line for people."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def problem(self) -> Problem:
        return Problem(self.code, self.message, self.details)


class InvalidId(UnderstudyError):
    """An id with characters that have a meaning in subjects, paths or URLs."""

    code = "invalid-id"


class InvalidMessage(UnderstudyError):
    """A body that is no JSON, or not of the agreed form."""

    code = "invalid-message"


class InvalidInput(UnderstudyError):
    """Well formed, but it makes no sense: the message says why and what to do."""

    code = "invalid-input"


class NotFound(UnderstudyError):
    code = "not-found"


class Conflict(UnderstudyError):
    """The state does not allow it (any more); reading again shows why."""

    code = "conflict"


class ConfirmationRequired(UnderstudyError):
    """It would destroy or interrupt something: say so, and ask again with a confirmation (M16)."""

    code = "confirmation-required"


class StaleEpoch(UnderstudyError):
    """A command older than one this agent has already seen (promise P2)."""

    code = "stale-epoch"


class Refused(UnderstudyError):
    """Forbidden: a missing or wrong permission, token or signature."""

    code = "refused"


class SettingsMissing(UnderstudyError):
    """The failover server has not got the settings version it is told to activate."""

    code = "settings-missing"


class Unavailable(UnderstudyError):
    """Nobody answered in time. Whether the request was carried out is unknown: read back."""

    code = "unavailable"


class ConfigurationError(UnderstudyError):
    """A process cannot start as configured."""

    code = "configuration"


def _all_errors(base: type[UnderstudyError]) -> list[type[UnderstudyError]]:
    found = [base]
    for child in base.__subclasses__():
        found.extend(_all_errors(child))
    return found


def error_from(problem: Problem) -> UnderstudyError:
    """The exception for a problem that came over the bus; an unknown code becomes the base class."""
    for kind in _all_errors(UnderstudyError):
        if kind.code == problem.code:
            return kind(problem.message, **problem.details)
    return UnderstudyError(problem.message, **problem.details)
