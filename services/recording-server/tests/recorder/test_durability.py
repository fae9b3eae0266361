"""How a file becomes durable, as the kernel sees it: write, fsync, rename, fsync of the folder."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from understudy_footage import RecordingName

PATIENCE_S = 40.0
FPS = 25
_CALL = re.compile(r"(?P<pid>\d+) +(?P<at>\d+\.\d+) (?P<rest>.*)")
_UNFINISHED = re.compile(r"(?P<name>\w+)\((?P<arguments>.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<arguments>.*)$")
_WHOLE = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)$")


@dataclass
class Call:
    """A system call that went well; `begun` and `ended` are places in the trace."""

    name: str
    arguments: str
    begun: int
    ended: int


def calls_of(trace: str) -> list[Call]:
    """The calls of a trace in the order in which they ended; those cut in two by others are joined."""
    open_calls: dict[str, tuple[str, str, int]] = {}
    found: list[Call] = []
    for place, line in enumerate(trace.splitlines()):
        parsed = _CALL.match(line)
        if parsed is None:
            continue
        pid, rest = parsed["pid"], parsed["rest"]
        if (half := _UNFINISHED.match(rest)) is not None:
            open_calls[pid] = (half["name"], half["arguments"], place)
        elif (half := _RESUMED.match(rest)) is not None and pid in open_calls:
            name, arguments, begun = open_calls.pop(pid)
            found.append(Call(name, arguments + half["arguments"], begun, place))
        elif (whole := _WHOLE.match(rest)) is not None:
            found.append(Call(whole["name"], whole["arguments"], place, place))
    return [call for call in found if " = -1 " not in call.arguments]


@pytest.mark.timeout(90)
async def test_a_file_is_durable_before_it_has_its_name(tmp_path, cameras, require_tool):
    data, trace = tmp_path / "data", tmp_path / "trace"
    arguments = ["--data-dir", str(data), "--segment-seconds", "1"]
    process = await asyncio.create_subprocess_exec(
        require_tool("strace", "strace"), "-f", "-ttt", "-y", "-s", "0", "-o", str(trace),
        "-e", "trace=write,fsync,fdatasync,rename,renameat,renameat2",
        sys.executable, "-m", "understudy_recording_server.recorder", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    spec = f'{{"id":"cam-1","url":"{cameras.url("cam-1")}"}}'
    process.stdin.write(
        f'{{"kind":"apply","folder":"","cameras":[{spec}],"generation":1,"segment_s":1}}\n'.encode()
    )
    finished = 0
    async with asyncio.timeout(PATIENCE_S):
        async for line in process.stdout:
            finished += b'"kind":"segment"' in line
            if finished == 3:
                break
        process.stdin.write(b'{"kind":"shutdown"}\n')
        process.stdin.close()
        await process.communicate()
    assert process.returncode == 0

    calls = calls_of(trace.read_text(errors="replace"))
    renames = [call for call in calls if call.name.startswith("rename") and ".mp4.part" in call.arguments]
    assert len(renames) >= 3
    frames = 0
    for rename in renames:
        part, final = re.findall(r'"([^"]+)"', rename.arguments)
        assert part.endswith(".part")
        RecordingName.parse(Path(final).name)
        written = [call for call in calls if call.name == "write" and f"<{part}>" in call.arguments]
        synced = [call for call in calls if "sync" in call.name and f"<{part}>" in call.arguments]
        parent = f"<{Path(final).parent}>"
        folder = [call for call in calls if "sync" in call.name and parent in call.arguments]
        frames += len(written)
        assert written[-1].ended < synced[-1].begun, "fsync comes after the last write"
        assert synced[-1].ended < rename.begun, "the name comes after the content is on the disk"
        assert any(call.begun > rename.ended for call in folder), "the name itself is made durable"
        assert not [call for call in written if call.begun > rename.begun]
        assert Path(final).stat().st_size > 0
    assert frames > FPS * len(renames) / 2  # Each frame was handed over by itself, and at once.


def test_the_trace_is_understood():
    calls = calls_of(
        '12 1.5 write(3</d/x.part>, ""..., 5) = 5\n'
        "13 1.6 fsync(4</d/x.part> <unfinished ...>\n"
        '12 1.7 write(3</d/y.part>, ""..., 5) = -1 ENOSPC (No space left on device)\n'
        "13 1.8 <... fsync resumed>) = 0\n"
        "14 1.9 +++ exited with 0 +++\n"
        f"15 2.0 --- {signal.SIGTERM.name} ---\n"
    )
    assert [(call.name, call.begun, call.ended) for call in calls] == [("write", 0, 0), ("fsync", 1, 3)]
