"""Playback from a real agent: timeline, files with ranges, and any span as one file that plays through."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from pathlib import Path

import pytest
from understudy_contracts.commands import Activate, Release, Stage
from understudy_lab.frames import find_gaps, read_frames

FPS = 25
FAR_MS = 4_000_000_000_000


async def recorded(site, cameras, viewer, wait_for, count=4):
    """A recording server that has finished some files and ended; started again, it records on."""
    agent = await site.recording_server("north", cameras, ["cam-1", "cam-2"])
    await wait_for(lambda: len(agent.files("recordings/cam-1")) >= count)
    return agent, await viewer(agent)


def bounds(files):
    """Start of the first and end of the last file, in UTC milliseconds."""
    first, last = (path.stem.split("_") for path in (files[0], files[-1]))
    return int(first[0]), int(last[0]) + int(last[1])


async def probed(ffprobe, body: bytes, folder: Path, *, clean: bool = True) -> dict:
    """What ffprobe says of the video: it must not complain, unless a frame itself is damaged."""
    path = folder / "probed.mp4"
    path.write_bytes(body)
    process = await asyncio.create_subprocess_exec(
        ffprobe, "-v", "warning", "-count_frames", "-select_streams", "v", "-of", "json",
        "-show_entries", "stream=nb_read_frames,codec_name:format=duration", str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complained = await process.communicate()
    assert process.returncode == 0
    assert complained == b"" or not clean
    found = json.loads(said)
    return {**found["streams"][0], **found["format"]}


async def test_a_span_across_files_plays_through(site, cameras, viewer, wait_for, tmp_path, require_tool):
    ffprobe = require_tool("ffprobe", "ffmpeg")
    agent, seen = await recorded(site, cameras, viewer, wait_for)
    files = agent.files("recordings/cam-1")[:4]
    begin, end = bounds(files)

    timeline = await seen.json("cam-1", f"timeline?from={begin - 5000}&to={end}")
    assert timeline["spans"] == [{"start_ms": begin, "end_ms": end, "failover": None}]
    listed = await seen.json("cam-1", f"recordings?from={begin}&to={end}")
    assert [item["name"] for item in listed["items"]][:4] == [path.name for path in files]
    assert listed["next_from"] is None
    first = await seen.json("cam-1", f"recordings?from={begin}&to={end}&limit=1")
    assert first["next_from"] == int(files[1].stem.split("_")[0])

    headers, body = await seen.body("cam-1", f"span.mp4?from={begin}&to={end}")
    assert int(headers["Content-Length"]) == len(body)
    assert (int(headers["Understudy-Start"]), headers["Content-Type"]) == (begin, "video/mp4")
    assert abs(int(headers["Understudy-End"]) - end) < 50
    there = [frame for path in files for frame in read_frames(path)]
    (tmp_path / "span.mp4").write_bytes(body)
    assert [frame.number for frame in read_frames(tmp_path / "span.mp4")] == [frame.number for frame in there]
    found = await probed(ffprobe, body, tmp_path)
    assert int(found["nb_read_frames"]) == len(there)
    assert abs(float(found["duration"]) - len(there) / FPS) < 0.2

    chance = random.Random(7)
    for _ in range(12):
        start = chance.randrange(len(body))
        stop = chance.randrange(start, len(body))
        headers, part = await seen.body(
            "cam-1", f"span.mp4?from={begin}&to={end}", 206, Range=f"bytes={start}-{stop}"
        )
        assert part == body[start : stop + 1]
        assert headers["Content-Range"] == f"bytes {start}-{stop}/{len(body)}"
    headers, part = await seen.body("cam-1", f"span.mp4?from={begin}&to={end}", 206, Range="bytes=-100")
    assert part == body[-100:]
    same = {"Range": "bytes=9-", "If-Range": headers["ETag"]}
    _, part = await seen.body("cam-1", f"span.mp4?from={begin}&to={end}", 206, **same)
    assert part == body[9:]
    other = {"Range": "bytes=9-", "If-Range": '"other"'}
    assert (await seen.body("cam-1", f"span.mp4?from={begin}&to={end}", 200, **other))[1] == body
    await seen.body("cam-1", f"span.mp4?from={begin}&to={end}", 416, Range=f"bytes={len(body)}-")
    for wrong in (
        "bytes=nonsense",
        "bytes=-0",
        "bytes=5-4",
        f"bytes={'9' * 5000}-",
        "bytes=0-1,4-5",
        "bytes=-",
    ):
        await seen.body("cam-1", f"span.mp4?from={begin}&to={end}", 416, Range=wrong)
    _, part = await seen.body("cam-1", f"span.mp4?from={begin}&to={end}", 206, Range=f"bytes=0-{'9' * 40}")
    assert part == body


async def test_a_span_begins_with_the_key_frame_before_and_reaches_into_the_file_being_written(
    site, cameras, viewer, wait_for, tmp_path, require_tool
):
    ffprobe = require_tool("ffprobe", "ffmpeg")
    agent, seen = await recorded(site, cameras, viewer, wait_for, count=2)
    files = agent.files("recordings/cam-1")
    begin, end = bounds(files[-1:])
    wanted = begin + 700
    headers, body = await seen.body("cam-1", f"span.mp4?from={wanted}&to={end - 300}")
    start = int(headers["Understudy-Start"])
    assert wanted - 440 <= start <= wanted
    (tmp_path / "cut.mp4").write_bytes(body)
    frames = read_frames(tmp_path / "cut.mp4")
    assert frames[0].is_key
    assert abs(len(frames) - (end - 300 - start) * FPS / 1000) <= 1
    await probed(ffprobe, body, tmp_path)

    # A file that is still being written belongs to the footage too, up to its last whole frame.
    await wait_for(lambda: agent.files("recordings/cam-1", "**/*.part"))
    unfinished = int(agent.files("recordings/cam-1", "**/*.part")[0].name.split(".")[0])

    async def last_of_now():
        return int((await seen.body("cam-1", f"span.mp4?from={begin}"))[0]["Understudy-End"])

    async with asyncio.timeout(10):
        while await last_of_now() < unfinished + 1000:
            await asyncio.sleep(0.05)
    _, body = await seen.body("cam-1", f"span.mp4?from={begin}")
    (tmp_path / "now.mp4").write_bytes(body)
    assert find_gaps(read_frames(tmp_path / "now.mp4"), FPS) == {"cam-1": []}
    await probed(ffprobe, body, tmp_path)


async def test_whole_files_come_with_ranges_and_nothing_else_does(site, cameras, viewer, wait_for):
    agent, seen = await recorded(site, cameras, viewer, wait_for, count=1)
    file = agent.files("recordings/cam-1")[0]
    content = file.read_bytes()
    assert (await seen.body("cam-1", f"recordings/{file.name}"))[1] == content
    headers, part = await seen.body("cam-1", f"recordings/{file.name}", 206, Range="bytes=100-299")
    assert part == content[100:300]
    assert headers["Content-Range"] == f"bytes 100-299/{len(content)}"
    async with seen.http.get(
        seen.url("cam-1", f"recordings/{file.name}?token={seen.grant('cam-1')}")
    ) as answer:
        assert await answer.read() == content

    (agent.data_dir / "secret.mp4").write_bytes(b"secret")
    link = file.with_name("1800000000000_1.mp4")
    link.symlink_to(agent.data_dir / "secret.mp4")
    names = [link.name, "1800000000000_2.mp4", file.name + "%00", "..%2f..%2f..%2fagent.json", "x" * 300,
             "%20", file.name.replace("_", "_0"), "1800000000000.mp4.part", ".", "..", "%ff"]  # fmt: skip
    for name in names:
        async with seen.http.get(
            seen.url("cam-1", f"recordings/{name}"), headers=seen.headers("cam-1")
        ) as answer:
            assert answer.status in {400, 403, 404}, name
            assert b"secret" not in await answer.read()
    begin, end = bounds([file])
    for query in ["", "from=1", f"from={end}&to={begin}", "from=-5&to=9", "from=1e3&to=2000",
                  "from=1&from=2&to=9", f"from=0&to={FAR_MS}", "from=x&to=9", f"from={'9' * 40}",
                  "from=%00"]:  # fmt: skip
        for path in ("timeline", "recordings", "span.mp4", "snapshots"):
            async with seen.http.get(
                seen.url("cam-1", f"{path}?{query}"), headers=seen.headers("cam-1")
            ) as answer:
                assert answer.status == 400, (path, query, await answer.text())
    for limit in ("0", "-1", "5001", "x"):
        await seen.body("cam-1", f"recordings?from={begin}&to={end}&limit={limit}", 400)
    await seen.body("cam-1", f"span.mp4?from={begin - 9000}&to={begin - 8000}", 404)
    assert (await seen.json("cam-9", f"timeline?from={begin}&to={end}"))["spans"] == []


async def test_pages_come_to_an_end_also_where_files_overlap(site, cameras, viewer):
    agent = await site.recording_server("north", cameras, [])
    seen = await viewer(agent)
    day, begin = "2026-05-04", 1_777_852_800_000
    names = {
        "recordings": [f"{begin}_9000.mp4", f"{begin + 2000}_9000.mp4", f"{begin + 2000}_9000_f-3.mp4"],
        "snapshots": [f"{begin}.jpg", f"{begin}_f-3.jpg", f"{begin + 1}.jpg"],
    }
    for kind, files in names.items():
        folder = agent.data_dir / kind / "cam-1" / day
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).write_bytes(b"x")
        found, next_from = set(), begin
        while next_from is not None:
            query = f"from={next_from}&to={begin + 60_000}&limit=1"
            page = await seen.json("cam-1", f"{kind}?{query}")
            found |= {item["name"] for item in page["items"]}
            assert page["next_from"] is None or page["next_from"] > next_from
            next_from = page["next_from"]
        assert found == set(files)


async def test_only_the_hosts_own_grant_for_that_camera_opens_it(site, cameras, viewer, wait_for):
    agent, seen = await recorded(site, cameras, viewer, wait_for, count=1)
    name = agent.files("recordings/cam-1")[0].name
    good = seen.grant("cam-1")
    wrong = {
        "another camera": seen.grant("cam-2"),
        "no camera": site.grant("media", agent.machine),
        "another machine": site.grant("media", "m-other", camera="cam-1"),
        "another purpose": site.grant("erase", agent.machine, camera="cam-1"),
        "expired": seen.grant("cam-1", expires_at=1_000),
        "another signer": site.grant("fetch", agent.machine, camera="cam-1"),
        "changed": good[:-3] + ("AAA" if good[-3:] != "AAA" else "BBB"),
        "huge": "x" * 3000,
        "no text": "\u00fc",
    }
    for why, token in wrong.items():
        for path in (f"recordings/{name}", "timeline?from=0&to=9", "span.mp4?from=0&to=9"):
            url = seen.url("cam-1", path)
            joint = "&" if "?" in url else "?"
            async with seen.http.get(f"{url}{joint}token={token}") as answer:
                assert answer.status == 403, (why, path, await answer.text())
    async with seen.http.get(seen.url("cam-1", "timeline?from=0&to=9")) as answer:
        assert answer.status == 401
    async with seen.http.get(seen.url("cam_1", f"timeline?from=0&to=9&token={good}")) as answer:
        assert answer.status == 400
    assert "token" not in agent.log.read_text()


async def test_footage_of_a_failover_is_seen_while_it_lasts_and_at_home(
    site, cameras, viewer, wait_for, tmp_path
):
    spare = await site.failover_server("spare")
    await site.command(spare, Stage(site.settings("north", cameras, ["cam-1"], version=1)))
    await site.command(spare, Activate(3, 1, "f-3", "s-north", 1, ["cam-1"]))
    await wait_for(lambda: len(spare.files("failovers/f-3/recordings/cam-1")) >= 2)
    seen = await viewer(spare)
    files = spare.files("failovers/f-3/recordings/cam-1")[:2]
    begin, end = bounds(files)
    spans = (await seen.json("cam-1", f"timeline?from={begin}&to={end}"))["spans"]
    assert spans == [{"start_ms": begin, "end_ms": end, "failover": "f-3"}]
    assert (await seen.body("cam-1", f"recordings/{files[0].name}"))[1] == files[0].read_bytes()
    at_home = files[0].name.replace(".mp4", "_f-3.mp4")
    assert (await seen.body("cam-1", f"recordings/{at_home}"))[1] == files[0].read_bytes()
    _, body = await seen.body("cam-1", f"span.mp4?from={begin}&to={end}")
    (tmp_path / "span.mp4").write_bytes(body)
    there = [frame.number for path in files for frame in read_frames(path)]
    assert [frame.number for frame in read_frames(tmp_path / "span.mp4")] == there
    await site.command(spare, Release(3, 2, "f-3"))

    # What has come home has the failover in its name, and overlaps with what the original recorded itself.
    home = await site.recording_server("north", cameras, ["cam-1"])
    await wait_for(lambda: len(home.files("recordings/cam-1")) >= 1)
    seen = await viewer(home)
    folder = home.data_dir / "recordings" / "cam-1" / files[0].parent.name
    folder.mkdir(parents=True, exist_ok=True)
    all_files = spare.files("failovers/f-3/recordings/cam-1")
    for path in all_files:
        shutil.copy(path, folder / path.name.replace(".mp4", "_f-3.mp4"))
    _, end = bounds(home.files("recordings/cam-1")[-1:])
    spans = (await seen.json("cam-1", f"timeline?from={begin}&to={end}"))["spans"]
    assert [span["failover"] for span in spans] == ["f-3", None]
    _, body = await seen.body("cam-1", f"span.mp4?from={begin}&to={end}")
    (tmp_path / "merged.mp4").write_bytes(body)
    numbers = [frame.number for frame in read_frames(tmp_path / "merged.mp4")]
    assert numbers == sorted(set(numbers))
    home_at = f"recordings/{all_files[0].name.replace('.mp4', '_f-3.mp4')}"
    assert (await seen.body("cam-1", home_at))[1] == all_files[0].read_bytes()


@pytest.mark.parametrize("damage", ["zeros", "cut", "empty", "noise"])
async def test_a_damaged_file_is_left_out_and_the_rest_plays(
    site, cameras, viewer, wait_for, tmp_path, require_tool, damage
):
    ffprobe = require_tool("ffprobe", "ffmpeg")
    agent, seen = await recorded(site, cameras, viewer, wait_for, count=3)
    files = agent.files("recordings/cam-1")[:3]
    begin, end = bounds(files)
    whole = len(read_frames(files[1]))
    content = files[1].read_bytes()
    half = len(content) // 2
    files[1].write_bytes({
        "zeros": content[:half] + bytes(half),
        "cut": content[:half],
        "empty": b"",
        "noise": random.Random(3).randbytes(len(content)),
    }[damage])  # fmt: skip
    _, body = await seen.body("cam-1", f"span.mp4?from={begin}&to={end}")
    found = await probed(ffprobe, body, tmp_path, clean=damage != "zeros")
    others = len(read_frames(files[0])) + len(read_frames(files[2]))
    assert others <= int(found["nb_read_frames"]) < others + whole
