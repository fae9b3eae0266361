"""What many cameras needed for a moment goes back to the system, though what stays lies in between."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ctypes
from pathlib import Path
from understudy_recording_server.recorder.memory import give_back

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def resident_mb():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024

frames = [libc.malloc(64 << 10) for _ in range(2000)]
for frame in frames:
    ctypes.memset(frame, 1, 64 << 10)
for number in range({freed}):
    if number % 20:
        libc.free(frames[number])
before = resident_mb()
gave = give_back()
print(gave, before - resident_mb())
"""


def given_back(freed: int) -> tuple[str, int]:
    """Whether memory was returned, and how many megabytes, after so many of 2000 times 64 KiB (125 MiB, all
    below what malloc maps by itself) were freed, but for each twentieth."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(freed=freed)], capture_output=True, text=True, check=True
    )
    gave, megabytes = done.stdout.split()
    return gave, int(megabytes)


def test_what_was_needed_for_a_moment_goes_back():
    gave, megabytes = given_back(2000)
    assert gave == "True"
    assert megabytes > 90


def test_what_will_be_needed_again_at_once_stays():
    assert given_back(400) == ("False", 0)
