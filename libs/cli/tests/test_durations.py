"""Durations as people write them."""

import pytest
from understudy_cli.durations import seconds_of
from understudy_contracts.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("90m", 5400), ("1h30m", 5400), ("2 h", 7200), ("1d", 86_400)]
)
def test_a_duration_is_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2x", "-2h", "1.5h", "2h!", "0h", "²h", "9" * 10 + "s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InvalidInput, match="write it like"):
        seconds_of(text)
