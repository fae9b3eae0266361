"""Passwords in settings are shown as `***`, and `***` sent back keeps what is there (promise P13)."""

from __future__ import annotations

from typing import Any, Final

from understudy_contracts.errors import InvalidInput

MASK: Final = "***"
_SECRET_WORDS = ("password", "secret", "token")


def masked(value: Any) -> Any:
    """`value` (made of dicts, lists and plain values) with every secret that is not empty hidden."""
    if isinstance(value, dict):
        return {
            key: MASK if _is_secret(key, inner) and inner else masked(inner) for key, inner in value.items()
        }
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def holds_mask(value: Any) -> bool:
    """Whether some secret in `value` is the mask."""
    if isinstance(value, dict):
        return any(
            inner == MASK if _is_secret(key, inner) else holds_mask(inner) for key, inner in value.items()
        )
    return isinstance(value, list) and any(holds_mask(inner) for inner in value)


def unmasked(value: Any, before: Any, path: str = "") -> Any:
    """`value` with each masked secret taken from the same place in `before`; entries of lists are the
    same where their `id` is.

    Raises:
        InvalidInput: there was no secret at that place.
    """
    if isinstance(value, dict):
        old = before if isinstance(before, dict) else {}
        return {key: _unmasked_field(key, inner, old, path) for key, inner in value.items()}
    if isinstance(value, list):
        return [unmasked(inner, _same_entry(inner, before, place), path) for place, inner in enumerate(value)]
    return value


def _unmasked_field(key: str, inner: Any, old: dict[str, Any], path: str) -> Any:
    where = f"{path}.{key}" if path else key
    if not _is_secret(key, inner):
        return unmasked(inner, old.get(key), where)
    if inner != MASK:
        return inner
    kept = old.get(key)
    if not isinstance(kept, str) or not kept:
        raise InvalidInput(f"{where} is {MASK}, which keeps the old one, but there is none: send it in full")
    return kept


def _same_entry(entry: Any, before: Any, place: int) -> Any:
    if not isinstance(before, list):
        return None
    if isinstance(entry, dict) and "id" in entry:
        return next((old for old in before if isinstance(old, dict) and old.get("id") == entry["id"]), None)
    return before[place] if place < len(before) else None


def _is_secret(key: str, inner: Any) -> bool:
    return isinstance(inner, str) and any(word in key.lower() for word in _SECRET_WORDS)
