"""Which bodies are read at all (promise P14): judged before any decoder sees them."""

from __future__ import annotations

import re
from itertools import accumulate

from understudy_contracts.errors import InvalidInput

MAXIMUM_BYTES = 1024 * 1024
MAXIMUM_BYTES_WITHOUT_LOGIN = 16 * 1024
MAXIMUM_NESTING = 64

# A text that never ends runs to the end of the body, so that each byte is looked at once.
_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_LONG_NUMBERS = re.compile(rb"\d{19,}")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_INT64_MAX = 2**63 - 1


def check_body(body: bytes) -> None:
    """Refuse what decoders or the database choke on: no UTF-8, deep nesting, NUL in texts, numbers beyond
    64 bits.

    Whether it is JSON, and of the right form, the decoder says.

    Raises:
        InvalidInput: it holds one of these.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("the body is not UTF-8") from None
    if b"\x00" in body or _NUL.search(body):
        raise InvalidInput("the body holds a NUL character, which no text here may hold")
    bare = _TEXTS.sub(b"", body)
    if nesting_of(bare) > MAXIMUM_NESTING:
        raise InvalidInput(f"the body is nested more than {MAXIMUM_NESTING} deep")
    for digits in _LONG_NUMBERS.findall(bare):
        if len(digits) > 19 or int(digits) > _INT64_MAX:
            raise InvalidInput("the body holds a number beyond 64 bits")


def nesting_of(bare: bytes) -> int:
    """The deepest nesting of brackets in JSON from which the texts have been taken out."""
    brackets = bare.translate(None, _ALL_BUT_BRACKETS)
    steps = (1 if bracket in b"[{" else -1 for bracket in brackets)
    return max(accumulate(steps), default=0)
