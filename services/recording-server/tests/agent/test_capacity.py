"""The number of cameras that a machine states: by hand, else as measured, else the usual one."""

from __future__ import annotations

import pytest
from understudy_recording_server.capacity import USUAL, stated_capacity


@pytest.mark.parametrize(
    ("text", "by_hand", "expected"),
    [
        (None, None, USUAL),
        (None, 7, 7),
        ('{"cameras": 33, "limited_by": "disk"}', None, 33),
        ('{"cameras": 33}', 0, 0),
        ('{"cameras": 99999}', None, USUAL),
        ('{"cameras": "many"}', None, USUAL),
        ("\udcff nonsense", None, USUAL),
    ],
)
def test_what_is_stated(tmp_path, text, by_hand, expected):
    if text is not None:
        (tmp_path / "capacity.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert stated_capacity(by_hand, tmp_path) == expected
