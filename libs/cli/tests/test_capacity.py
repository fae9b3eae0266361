"""How many cameras a machine can record: the estimate by itself, and one real measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_cli.capacity import CAPACITY_FILE, MOST_CAMERAS, Level, estimate, measure_capacity, slope

PLENTY = {"disk_bytes_per_s": 1e12, "free_memory_mb": 1e9, "now_ms": 1}


def levels(each_cpu: float, base_cpu: float = 2.0, each_mb: float = 2.0) -> list[Level]:
    return [Level(count, base_cpu + count * each_cpu, 60 + count * each_mb) for count in (4, 16, 32)]


def test_the_dearest_resource_decides():
    assert estimate(levels(0.5), **PLENTY).cameras == 136  # (70 - 2) / 0.5
    found = estimate(levels(0.5), **{**PLENTY, "disk_bytes_per_s": 10e6})
    assert (found.cameras, found.limited_by) == (20, "disk")  # half of 10 MB/s, at 0.25 MB/s each
    found = estimate(levels(0.5), **{**PLENTY, "free_memory_mb": 320.0})
    assert (found.cameras, found.limited_by) == (50, "memory")


@given(st.floats(0.001, 100), st.floats(0, 50))
def test_dearer_cameras_are_never_more(each, more):
    cheap, dear = estimate(levels(each), **PLENTY), estimate(levels(each + more), **PLENTY)
    assert 0 <= dear.cameras <= cheap.cameras <= MOST_CAMERAS


@given(st.lists(st.builds(Level, st.integers(1, 99), st.floats(0, 400), st.floats(0, 9999)), min_size=1))
def test_noise_gives_a_figure_all_the_same(measured):
    found = estimate(measured, **PLENTY)
    assert 0 <= found.cameras <= MOST_CAMERAS


def test_a_line_through_points():
    base, each = slope([(1, 3.0), (2, 5.0), (3, 7.0)])
    assert (round(base, 6), round(each, 6)) == (1.0, 2.0)


async def test_a_real_measurement(tmp_path):
    said: list[str] = []
    found = await measure_capacity(tmp_path, 1.0, said.append, levels=(1, 2))
    assert found.cameras > 0
    assert [level.cameras for level in found.levels] == [1, 2]
    assert all(level.memory_mb > 10 for level in found.levels)
    assert json.loads((tmp_path / CAPACITY_FILE).read_text())["cameras"] == found.cameras
    assert [path.name for path in tmp_path.iterdir()] == [CAPACITY_FILE]
    assert len(said) == 3


@pytest.mark.parametrize(
    "arguments", [[], ["--capacity", "--data-dir", "/nowhere"], ["--capacity", "--seconds", "0"]]
)
def test_what_cannot_be_examined_is_said_in_one_line(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "understudy_cli", "doctor", *arguments],
        capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
