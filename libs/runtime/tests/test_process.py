"""A process says in one line why it cannot run, and ends when told."""

import os
import random
import signal
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.retry import pauses

PROGRAM = """
import asyncio, sys
from understudy_contracts.errors import ConfigurationError, Conflict
from understudy_runtime.configuration import ProcessSettings
from understudy_runtime.process import run_service
async def main(settings, stopping):
    {body}
sys.exit(run_service("probe", ProcessSettings, main, end_within_s={end_within_s}))
"""


def start(body: str, end_within_s: float = 30, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body, end_within_s=end_within_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors.splitlines()


def test_a_wrong_setting_is_one_line_and_status_2():
    status, lines = finished(start("pass", UNDERSTUDY_LOG_LEVEL="loud"))
    assert status == 2
    assert lines == ["understudy probe: unknown log level 'loud': use debug, info, warning or error"]


def test_an_error_of_ours_is_one_line_and_status_1_also_out_of_a_task_group():
    body = "raise ExceptionGroup('tasks', [Conflict('the door is shut')])"
    status, lines = finished(start(body))
    assert (status, lines) == (1, ["understudy probe: the door is shut"])


def test_it_ends_when_told():
    process = start("print('up', flush=True); await stopping.wait()")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert finished(process)[0] == 0


def test_it_ends_when_told_though_it_still_waits_for_somebody_who_never_comes():
    process = start("print('up', flush=True); await asyncio.Event().wait()", end_within_s=0.2)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    status, lines = finished(process)
    assert status == 0
    assert [line for line in lines if "ended before all was in order" in line] == lines


def test_a_configuration_that_only_main_finds_wrong_is_status_2():
    status, lines = finished(start("raise ConfigurationError('no key')"))
    assert (status, lines) == (2, ["understudy probe: no key"])


@given(st.floats(0.01, 1), st.floats(1, 10), st.integers())
def test_pauses_grow_to_their_bound_and_are_never_zero(first, most, seed):
    source = pauses(first, most, randomness=random.Random(seed))
    drawn = [next(source) for _ in range(30)]
    assert all(0 < pause <= most for pause in drawn)
    assert drawn[-1] >= most / 2
