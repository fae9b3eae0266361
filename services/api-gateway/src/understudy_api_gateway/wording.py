"""What the decoder says of wrong input, in words for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

_KINDS: Final = {
    "array": "a list",
    "bool": "true or false",
    "datetime": "a time",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "an object",
    "str": "a text",
}
_BOUNDS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_RULES: Final[Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]] = (
    (
        re.compile(r"Invalid RFC3339 encoded datetime|Expected `datetime` with a timezone component"),
        lambda _: "must be a time with its zone, like 2026-01-31T12:00:00Z",
    ),
    (re.compile(r"(?:JSON is malformed: )?Input data was truncated"), lambda _: "the JSON ends too early"),
    (re.compile(r"Expected `(?:str|array)` of length >= 1"), lambda _: "must not be empty"),
    (
        re.compile(r"Expected `(?:float|int)` ([<>]=?) (-?\d+(?:\.\d+)?)"),
        lambda found: f"must be {_BOUNDS[found[1]]} {float(found[2]):.15g}",
    ),
    (
        re.compile(r"Expected `(str|array)` of length ([<>]=?) (\d+)"),
        lambda found: (
            f"must have {_BOUNDS[found[2]]} {found[3]} {'characters' if found[1] == 'str' else 'entries'}"
        ),
    ),
    (
        re.compile(r"Expected `([a-z| ]+)`, got `([a-z]+)`"),
        lambda found: f"must be {_kinds(found[1])}, not {_kind_of_value(found[2])}",
    ),
)


def explained(key: str, message: str) -> str:
    """What is wrong with the field `key`, by the decoder's `message`; what we have no words for stays."""
    if message == repr(key):  # the framework's whole word on what is not there
        return "the request has no body: send JSON" if key == "data" else f"{key} is missing"
    for pattern, words in _RULES:
        # The whole of it: within a message there may be words of whoever sent the body.
        if found := pattern.fullmatch(message):
            message = words(found)
            break
    return f"{key}: {message}" if key and key not in message else message


def _kinds(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))


def _kind_of_value(name: str) -> str:
    """What was given: `true or false` would not tell of one value."""
    return "a truth value" if name == "bool" else _KINDS.get(name, name)
