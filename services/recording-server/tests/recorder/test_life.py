"""How the recorder begins and ends, and what it makes of bad input and bad disks."""

import asyncio
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from understudy_footage import FootageRoot, parts_of, recordings_of
from understudy_lab.frames import read_frames


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "understudy_recording_server.recorder", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--data-dir"),
        (["--data-dir", "x", "--colour"], "--colour"),
        (["--data-dir", "x", "--segment-seconds", "0"], "1 to 3600"),
        (["--data-dir", "x", "--segment-seconds", "many"], "many"),
    ],
)
def test_bad_arguments_get_one_line(arguments: list[str], words: str) -> None:
    ran = _run(*arguments)
    assert ran.returncode != 0
    assert words in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_data_folder_that_cannot_be_written_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    ran = _run("--data-dir", str(tmp_path / "file"))
    assert ran.returncode != 0
    assert "cannot write to the data folder" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_the_end_of_its_input_ends_it(tmp_path: Path) -> None:
    ran = _run("--data-dir", str(tmp_path / "new"))
    assert ran.returncode == 0
    assert '"kind":"ready"' in ran.stdout
    assert ran.stderr == ""


async def test_a_second_recorder_waits_for_the_first_to_end(start_recorder, spec, tmp_path: Path) -> None:
    first = await start_recorder()
    await first.apply([spec("cam-1")])
    await first.hears("first-key-frame")
    second = asyncio.create_task(start_recorder())
    await first.hears("status", count=2, since=len(first.reports))
    assert not second.done()
    # It has not taken the first one's file for what a crash left.
    assert len(parts_of(FootageRoot(tmp_path / "data"))) == 1
    await first.shut_down()
    recorder = await second
    await recorder.shut_down()
    assert recorder.told("recovered") == []


@pytest.mark.parametrize("how", ["stdin", "SIGTERM", "SIGINT"])
async def test_files_are_finished_at_the_end(start_recorder, spec, tmp_path: Path, how: str) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1"), spec("cam-2")])
    await recorder.hears("first-key-frame", count=2)
    if how == "stdin":
        recorder.process.stdin.close()
    else:
        recorder.process.send_signal(signal.Signals[how])
    assert await recorder.ends() == 0
    assert len(recorder.told("stopped")) == len(recorder.told("segment")) == 2
    assert parts_of(FootageRoot(tmp_path / "data")) == []
    assert set(recordings_of(FootageRoot(tmp_path / "data"))) == {"cam-1", "cam-2"}


async def test_it_does_not_outlive_a_killed_agent(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "understudy_recording_server.recorder", "--data-dir", str(tmp_path)]
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import subprocess; subprocess.run({command!r})",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert b'"ready"' in await asyncio.wait_for(agent.stdout.readline(), 20)
    agent.kill()
    # Its input stays open, for it is ours: only the death of its parent can end it.
    await asyncio.wait_for(agent.stdout.read(), 20)
    agent.stdin.close()
    await agent.wait()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"not json\n", "not a command"),
        (b"[" * 100_000 + b"\n", "not a command"),
        (b'{"kind":"dance"}\n', "not a command"),
        (b'{"kind":"apply","folder":"","generation":1,"cameras":[{"id":"../x","url":"rtsp://a/"}]}\n', "id"),
        (b'{"kind":"apply","folder":"../x","generation":1,"cameras":[]}\n', "no footage folder"),
        (
            b'{"kind":"apply","folder":"","generation":1,"cameras":[{"id":"a","url":"a"},{"id":"a","url":"b"}]}\n',
            "listed twice",
        ),
    ],
)
async def test_bad_commands_are_answered_and_change_nothing(start_recorder, spec, line, words) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1")])
    await recorder.hears("first-key-frame")
    await recorder.send_line(line)
    [error] = await recorder.hears("error")
    assert words in error["reason"]
    since = len(recorder.reports)
    [status] = await recorder.hears("status", since=since)
    assert [one["state"] for one in status["cameras"]] == ["recording"]


async def test_a_disk_that_takes_no_more_is_reported_and_tried_again(start_recorder, spec, tmp_path) -> None:
    recorder = await start_recorder()
    # The kernel refuses to let any file grow beyond this, as a full disk does.
    resource.prlimit(recorder.process.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    await recorder.apply([spec("cam-1")])
    [failed] = await recorder.hears("camera", state="failed")
    assert "cannot write: File too large" in failed["reason"]
    resource.prlimit(recorder.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    since = len(recorder.reports)
    await recorder.hears("camera", state="recording", since=since)
    await recorder.shut_down()
    assert parts_of(FootageRoot(tmp_path / "data")) == []
    index = recordings_of(FootageRoot(tmp_path / "data"))["cam-1"]
    assert len(index) >= 2
    for found in index:
        assert read_frames(tmp_path / "data" / found.path.path)[0].is_key


async def test_a_folder_removed_underneath_is_noticed(start_recorder, spec, tmp_path: Path) -> None:
    recorder = await start_recorder()
    await recorder.apply([spec("cam-1")])
    await recorder.hears("camera", state="recording")
    since = len(recorder.reports)
    shutil.rmtree(tmp_path / "data" / "recordings")
    [failed] = await recorder.hears("camera", state="failed", since=since)
    assert "removed" in failed["reason"]
    await recorder.hears("camera", state="recording", since=since)
    await recorder.shut_down()
    assert len(recordings_of(FootageRoot(tmp_path / "data"))["cam-1"]) == 1
