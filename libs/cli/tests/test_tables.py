"""What the API tells, in words for people."""

from understudy_cli.tables import CAMERA_HEADINGS, health_words, time_words


def test_a_cameras_health_is_told_in_a_row():
    told = health_words(
        {
            "last_frame_at": 1_800_000_000_000,
            "bitrate_bps": 2_034_000,
            "fps": 24.96,
            "reconnects": 3,
            "clock_skew_ms": -1520,
        }
    )
    assert told == (time_words(1_800_000_000_000), "2.03 Mbit/s", "25.0", "3", "-1.5 s")
    assert len(told) == CAMERA_HEADINGS.index("REASON") - CAMERA_HEADINGS.index("LAST FRAME")


def test_what_is_not_known_is_left_empty():
    assert set(health_words(None)) == {""}
    unknown = {"last_frame_at": None, "bitrate_bps": 0, "fps": 0.0, "reconnects": 0, "clock_skew_ms": None}
    assert health_words(unknown) == ("", "0.00 Mbit/s", "0.0", "0", "")
