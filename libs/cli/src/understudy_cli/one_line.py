"""An error as people see it: one clear line."""

from __future__ import annotations

from understudy_contracts.errors import UnderstudyError

USAGE = 2
FAILURE = 1


def line_of(error: BaseException) -> str:
    """One line about `error`, whatever it is; of a group the first, since the others follow from it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, UnderstudyError):
        text = error.message
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = f"internal error: {type(error).__name__}: {error}"
    return f"understudy: {' '.join(text.split())}"


def usage_line(text: str) -> str:
    """One line about a command line that makes no sense, without a full stop and in our words."""
    text = " ".join(text.split()).rstrip(".")
    return f"understudy: {text[:1].lower()}{text[1:]}; 'understudy --help' lists the commands"
