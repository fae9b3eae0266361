"""The decoder's messages in words for people."""

import pytest
from understudy_api_gateway.wording import explained


@pytest.mark.parametrize(
    ("key", "message", "words"),
    [
        ("after_s", "Expected `float` >= 1.0", "after_s: must be at least 1"),
        ("count", "Expected `int` <= 2000", "count: must be at most 2000"),
        ("name", "Expected `str` of length >= 1", "name: must not be empty"),
        ("name", "Expected `str` of length <= 120", "name: must have at most 120 characters"),
        ("pairing", "Expected `array` of length <= 9", "pairing: must have at most 9 entries"),
        ("after_s", "Expected `float`, got `bool`", "after_s: must be a number, not a truth value"),
        (
            "pairing",
            "Expected `str | array`, got `int`",
            "pairing: must be a text or a list, not a whole number",
        ),
        ("", "Expected `object`, got `array`", "must be an object, not a list"),
        (
            "",
            "Object contains unknown field `Expected `int` >= .`",
            "Object contains unknown field `Expected `int` >= .`",
        ),
        ("role", "Invalid enum value 'king'", "role: Invalid enum value 'king'"),
        ("data", "'data'", "the request has no body: send JSON"),
        ("limit", "'limit'", "limit is missing"),
    ],
)
def test_a_message_is_explained(key, message, words):
    assert explained(key, message) == words
