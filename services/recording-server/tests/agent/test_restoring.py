"""Footage comes home between two real agents, over roads that lose and change things (promises P10, P11)."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from aiohttp import web
from understudy_contracts.commands import Activate, ClearFootage, FetchFootage, Release, Stage, StopFetching
from understudy_contracts.errors import Conflict, StaleEpoch
from understudy_contracts.model import Role
from understudy_footage import (
    FootageRoot,
    Manifest,
    ManifestEntry,
    RecordingName,
    hash_file,
    make_folders,
    manifest_of,
    manifest_of_entries,
)
from understudy_lab.disks import small_ext4, unreadable
from understudy_recording_server.serving import serving

FAILOVER = "f-1"
START_MS = 1_760_000_000_000
MEGABYTE = 1_000_000


class Road:
    """An HTTP relay between two agents that can be bad."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.url = ""
        self.offsets: list[tuple[str, int]] = []
        self.sent = 0
        self.flip: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        self.manifest: bytes | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        name = path.rpartition("/")[2]
        if name == "manifest" and self.manifest is not None:
            return web.Response(body=self.manifest)
        headers = {key: request.headers[key] for key in ("Authorization", "Range") if key in request.headers}
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            async with session.get(f"{self.source}{path}", headers=headers) as found:
                kept = {key: found.headers[key] for key in ("Content-Range",) if key in found.headers}
                reply = web.StreamResponse(status=found.status, headers=kept)
                reply.content_length = found.content_length
                await reply.prepare(request)
                if name != "manifest":
                    begins = int(kept["Content-Range"].split()[1].split("-")[0]) if kept else 0
                    self.offsets.append((name, begins))
                async for chunk in found.content.iter_chunked(64 << 10):
                    await self._pass_on(name, reply, chunk)
        return reply

    async def _pass_on(self, name: str, reply: web.StreamResponse, chunk: bytes) -> None:
        if self.cut.get(name, 0) > 0:
            self.cut[name] -= 1
            await reply.write(chunk[: len(chunk) // 2])
            assert reply._req is not None
            assert reply._req.transport is not None
            reply._req.transport.abort()
            raise ConnectionResetError
        if self.flip.get(name, 0) > 0:
            self.flip[name] -= 1
            chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
        await reply.write(chunk)
        self.sent += len(chunk)


@pytest.fixture
async def road() -> AsyncIterator[Road]:
    made = Road("")
    application = web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    async with serving(application, "127.0.0.1:0", patience_s=0.1) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


class Pair:
    """A failover server with footage of f-1, and the recording server whose footage it is."""

    def __init__(self, site, source, target) -> None:
        self.site = site
        self.source = source
        self.target = target
        self.address = ""
        self.boot, self.since = "", 0

    @property
    def folder(self) -> FootageRoot:
        return FootageRoot(self.source.data_dir).failover(FAILOVER)

    def put(self, count: int, size: int) -> list[str]:
        """Files as the recorder leaves them; what is in them does not matter on the way."""
        names = []
        chance = random.Random(count * size)
        for number in range(count):
            name = RecordingName(START_MS + number * 60_000, 60_000)
            path = self.folder.recording("cam-1", name)
            make_folders(path.parent)
            path.write_bytes(chance.randbytes(size))
            names.append(name.file_name)
        return names

    def home(self):
        return {path.name: hash_file(path) for path in self.target.files("recordings")}

    def expected(self):
        entries = manifest_of(self.folder).entries
        return {
            entry.path.rpartition("/")[2].replace(".mp4", f"_{FAILOVER}.mp4"): (entry.size, entry.blake3)
            for entry in entries
        }

    async def fetch(self, source="", *, step=5, **more):
        grant = self.site.grant("fetch", self.source.machine, failover=FAILOVER, epoch=1)
        command = FetchFootage(1, step, FAILOVER, source or self.address, grant, **more)
        state = await self.site.command(self.target, command)
        self.boot, self.since = state.boot, state.sequence
        return state

    async def until(self, fits):
        def found(beat):
            after = beat.sequence > self.since or beat.boot != self.boot
            return after and bool(beat.restorations) and fits(beat.restorations[-1])

        return (await self.site.beat(self.target, found)).restorations[-1]

    async def done(self):
        ended = await self.until(lambda progress: progress.state != "running")
        assert ended.state == "done", ended
        return ended

    async def clear(self, digest=None, *, step=9, discard=False):
        command = ClearFootage(1, step, FAILOVER, digest, discard)
        return await self.site.command(self.source, command)


@pytest.fixture
async def pair(site):
    source, target = await site.failover_server("spare"), site.make("north", Role.RECORDING)
    await target.start()
    await site.beat(target)
    made = Pair(site, source, target)
    made.address = (await site.beat(source)).address
    return made


async def test_recorded_footage_comes_home_and_is_cleared(site, pair, cameras):
    settings = site.settings("north", cameras, ["cam-1", "cam-2"])
    await site.command(pair.source, Stage(settings))
    await site.command(pair.source, Activate(1, 1, FAILOVER, "s-north", 1, ["cam-1", "cam-2"]))
    await site.beat(pair.source, lambda beat: len([c for c in beat.cameras if c.frames_written > 60]) == 2)
    with pytest.raises(Conflict, match="still serves"):
        await pair.clear(step=2, discard=True)
    await site.command(pair.source, Release(1, 4, FAILOVER))
    await pair.fetch(step=5)
    done = await pair.done()
    expected = pair.expected()
    assert len(expected) >= 2
    assert pair.home() == expected
    assert (done.files_total, done.files_verified, done.missing) == (len(expected), len(expected), 0)
    assert done.bytes_copied == done.bytes_total == sum(size for size, _ in expected.values())
    assert done.digest == manifest_of(pair.folder).digest
    assert not (pair.target.data_dir / "incoming" / FAILOVER).exists()
    # The heartbeat that said so and the report come on two subjects, in any order.
    await site.until(lambda: site.progress[-1].state == "done")

    with pytest.raises(Conflict, match="not what was verified"):
        await pair.clear("0" * 64)
    stray = pair.folder.path / "stray.txt"
    stray.write_bytes(b"?")
    with pytest.raises(Conflict, match=r"stray\.txt"):
        await pair.clear(done.digest)
    stray.unlink()
    state = await pair.clear(done.digest)
    assert state.footage_bytes == 0
    assert not pair.folder.path.exists()
    await pair.clear(done.digest)
    again = await pair.fetch(step=5)
    assert again.restorations[-1].state == "done"
    with pytest.raises(StaleEpoch):
        await pair.fetch(step=4)
    with pytest.raises(StaleEpoch):
        await pair.clear(step=8, discard=True)


async def test_a_killed_target_goes_on_where_it_was(pair, road):
    road.source = pair.address
    pair.put(6, 4 * MEGABYTE)
    await pair.fetch(road.url, bytes_per_second=8 * MEGABYTE)
    await pair.until(lambda progress: progress.bytes_copied > 6 * MEGABYTE)
    await pair.target.end(signal.SIGKILL)
    before = len(road.offsets)
    await pair.target.start()
    done = await pair.done()
    assert done.files_verified == 6
    assert pair.home() == pair.expected()
    resumed = [begins for _, begins in road.offsets[before:] if begins > 0]
    assert sum(resumed) > MEGABYTE


async def test_what_is_changed_or_cut_on_the_way_is_fetched_again(pair, road):
    road.source = pair.address
    names = pair.put(5, MEGABYTE)
    road.flip = {names[0]: 1, names[1]: 2}
    road.cut = {names[2]: 3, names[3]: 1}
    await pair.fetch(road.url)
    done = await pair.done()
    assert (done.files_verified, done.missing) == (5, 0)
    assert pair.home() == pair.expected()


async def test_a_file_that_is_damaged_at_its_source_is_told_and_blocks_clearing(pair):
    names = pair.put(3, MEGABYTE)
    digest = manifest_of(pair.folder).digest
    await pair.fetch(bytes_per_second=1)
    await pair.until(lambda progress: progress.files_total == 3)
    damaged = next(path for path in pair.source.files("failovers") if path.name == names[1])
    times = (damaged.stat().st_atime_ns, damaged.stat().st_mtime_ns)
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    os.utime(damaged, ns=times)
    await pair.site.command(pair.target, StopFetching(1, 6, FAILOVER))
    await pair.fetch(step=7)
    failed = await pair.until(lambda progress: progress.state == "failed")
    assert (failed.files_verified, failed.missing, failed.digest) == (2, 1, "")
    assert names[1] in failed.reason
    assert len(pair.home()) == 2
    assert not [path for path in pair.target.files("recordings") if names[1][:20] in path.name]
    damaged.touch()
    with pytest.raises(Conflict, match="not what was verified"):
        await pair.clear(digest)
    assert len(pair.source.files("failovers")) == 3


async def test_a_file_that_its_source_cannot_read_keeps_no_other_from_coming_home(pair, injected):
    names = pair.put(3, MEGABYTE)
    expected = pair.expected()
    bad = next(path for path in pair.source.files("failovers") if path.name == names[1])
    with injected(unreadable(bad)):
        await pair.fetch()
        failed = await pair.until(lambda progress: progress.state == "failed")
        assert (failed.files_verified, failed.missing, failed.digest) == (2, 1, "")
        assert names[1] in failed.reason
        assert "cannot read it" in failed.reason
        assert len(pair.home()) == 2
    # The disk was only loose.
    await pair.fetch(step=6)
    done = await pair.done()
    assert (done.files_verified, done.missing) == (3, 0)
    assert pair.home() == expected


async def test_files_that_their_source_can_no_longer_read_keep_no_other_from_coming_home(pair, injected):
    """Their hashes are known from when they were finished, so that the manifest says nothing of it."""
    failovers = pair.source.data_dir / "failovers"
    with injected(small_ext4(failovers, pair.site.folder / "failovers.img")) as disk:
        names = pair.put(3, 3 * MEGABYTE)
        await pair.fetch(bytes_per_second=1)
        await pair.until(lambda progress: progress.files_total == 3)
        await pair.site.command(pair.target, StopFetching(1, 6, FAILOVER))
        bad = next(path for path in pair.source.files("failovers") if path.name == names[2])
        disk.lose(bad)
        with pytest.raises(OSError, match="Input/output"):
            bad.read_bytes()
        await pair.fetch(step=7)
        failed = await pair.until(lambda progress: progress.state == "failed")
        assert (failed.files_verified, failed.missing, failed.digest) == (2, 1, "")
        assert names[2] in failed.reason
        assert "cannot read it" in failed.reason
        assert len(pair.home()) == 2


async def test_a_stopped_restoration_keeps_what_is_verified_and_nothing_half(pair):
    pair.put(1, 1000)
    pair.put(8, MEGABYTE)
    await pair.fetch(bytes_per_second=2 * MEGABYTE)
    await pair.until(lambda progress: progress.files_verified >= 1)
    state = await pair.site.command(pair.target, StopFetching(1, 6, FAILOVER))
    stopped = state.restorations[-1]
    assert stopped.state == "stopped"
    assert not (pair.target.data_dir / "incoming" / FAILOVER).exists()
    expected = pair.expected()
    assert 1 <= len(pair.home()) < len(expected)
    assert all(expected[name] == found for name, found in pair.home().items())
    assert (await pair.site.command(pair.target, StopFetching(1, 6, FAILOVER))).restorations[-1] == stopped
    await pair.target.end()
    await pair.target.start()
    restarted = await pair.site.beat(pair.target, lambda beat: beat.boot != pair.boot)
    assert restarted.restorations[-1].state == "stopped"
    await pair.clear(discard=True)
    assert not pair.folder.path.exists()


async def test_a_source_that_is_away_is_waited_for_and_a_new_order_is_followed(pair):
    pair.put(2, MEGABYTE)
    await pair.fetch("http://127.0.0.1:9")
    waiting = await pair.until(lambda progress: bool(progress.reason))
    assert waiting.state == "running"
    assert "out of reach" in waiting.reason
    await pair.fetch()
    assert (await pair.done()).files_verified == 2


async def test_a_full_disk_at_home_is_told_and_waited_for(site, pair, small_disk):
    """4 MB of disk for 6 MB of footage."""
    pair.target = site.make("east", Role.RECORDING)
    pair.target.data_dir = small_disk
    await pair.target.start()
    await site.beat(pair.target)
    names = pair.put(6, MEGABYTE)
    await pair.fetch()
    full = await pair.until(lambda progress: "full" in progress.reason)
    assert full.state == "running"
    assert 1 <= full.files_verified < 6
    # Somebody makes room: what is home already moves elsewhere.
    away = site.folder / "away"
    away.mkdir()
    moved = {}
    while (await pair.until(lambda progress: True)).files_verified < len(names):
        for path in pair.target.files("recordings"):
            shutil.copy(path, away)
            moved[path.name] = hash_file(path)
            path.unlink()
        await asyncio.sleep(0.05)
    await pair.done()
    assert {**moved, **pair.home()} == pair.expected()


async def test_unfinished_files_are_waited_for(pair):
    pair.put(1, 1000)
    part = pair.folder.part("cam-1", START_MS - 1000)
    make_folders(part.parent)
    part.write_bytes(b"x" * 100)
    await pair.fetch()
    waiting = await pair.until(lambda progress: bool(progress.reason))
    assert "unfinished" in waiting.reason
    part.rename(pair.folder.recording("cam-1", RecordingName(START_MS - 1000, 1)))
    assert (await pair.done()).files_verified == 2


async def test_what_is_home_already_is_not_fetched_again(pair, road):
    road.source = pair.address
    pair.put(3, MEGABYTE)
    await pair.fetch(road.url)
    await pair.done()
    sent = road.sent
    harmed = pair.target.files("recordings")[1]
    harmed.write_bytes(b"?" * MEGABYTE)
    await pair.fetch(road.url, step=6)
    await pair.done()
    assert pair.home() == pair.expected()
    assert MEGABYTE <= road.sent - sent < 1.5 * MEGABYTE


async def test_a_manifest_that_names_no_footage_is_refused(pair, road):
    road.source = pair.address
    before = sorted(pair.site.folder.rglob("*.mp4"))
    day = "recordings/cam-1/2025-10-09"
    hostile = [
        "../../../../evil.mp4",
        "/var/evil.mp4",
        f"{day}/..%2f..%2fevil.mp4",
        f"{day}/\x00.mp4",
        "settings/own.json",
        f"{day}/1760000000000_60000.mp4.part",
        f"{day}/{'1' * 300}_1.mp4",
    ]
    for step, path in enumerate(hostile, start=5):
        road.manifest = msgspec.json.encode(manifest_of_entries([ManifestEntry(path, 1, "0" * 64)]))
        await pair.fetch(road.url, step=step)
        failed = await pair.until(lambda progress: progress.state == "failed")
        assert "no footage" in failed.reason, path
    assert sorted(pair.site.folder.rglob("*.mp4")) == before


async def test_what_is_no_manifest_ends_in_one_clear_reason(pair, road):
    road.source = pair.address
    bodies = [b"", b"{", b"[]", b'{"entries":[],"digest":"0"}', b"\xff" * 100, b"[" * 9999]
    for step, body in enumerate(bodies, start=5):
        road.manifest = body
        await pair.fetch(road.url, step=step)
        failed = await pair.until(lambda progress: progress.state == "failed")
        assert "manifest" in failed.reason, body[:20]


async def ask_raw(address: str, path: str, token: str) -> int:
    """The status of a request whose path no client has tidied up."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("latin-1"))
        status = await asyncio.wait_for(reader.readline(), 5)
        return int(status.split()[1])
    finally:
        writer.close()


async def test_only_granted_footage_is_served(pair):
    names = pair.put(1, 1000)
    day = next(pair.folder.recordings.glob("cam-1/*")).name
    file = f"/footage/{FAILOVER}/files/recordings/cam-1/{day}/{names[0]}"
    good = pair.site.grant("fetch", pair.source.machine, failover=FAILOVER)
    assert await ask_raw(pair.address, file, good) == 200
    foreign = [
        pair.site.grant("fetch", pair.source.machine, failover="f-2"),
        pair.site.grant("fetch", pair.source.machine),
        pair.site.grant("fetch", pair.target.machine, failover=FAILOVER),
        pair.site.grant("permit", pair.source.machine, failover=FAILOVER),
        pair.site.grant("fetch", pair.source.machine, failover=FAILOVER, expires_at=1),
        good[:-4] + "AAAA",
        "x",
        "a.b",
    ]
    for token in foreign:
        assert await ask_raw(pair.address, file, token) == 403
        assert await ask_raw(pair.address, f"/footage/{FAILOVER}/manifest", token) == 403
    assert await ask_raw(pair.address, file, "") == 401
    secret = pair.source.data_dir / "agent.json"
    (pair.folder.recordings / "cam-1" / day / "1760000000001_1.mp4").symlink_to(secret)
    for hostile in (
        "../../agent.json",
        "..%2f..%2fagent.json",
        "%2e%2e/%2e%2e/agent.json",
        f"recordings/cam-1/{day}/../../../../../agent.json",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        f"recordings/cam-1/{day}/%00.mp4",
        f"recordings/cam-1/{day}/{'1' * 300}.mp4",
        f"recordings/cam-1/{day}/1760000000001_1.mp4",
        f"recordings/cam-1/{day}",
        f"recordings/cam-1/{day}/{names[0]}.part",
        "",
    ):
        status = await ask_raw(pair.address, f"/footage/{FAILOVER}/files/{hostile}", good)
        assert status in {400, 404}, hostile
    for failover in ("f-0", "..", "f-1%2f..", "own"):
        status = await ask_raw(pair.address, f"/footage/{failover}/manifest", good)
        assert status in {400, 403, 404}, failover


async def test_ranges_are_served_and_the_manifest_is_true(pair):
    pair.put(2, 1000)
    headers = {"Authorization": f"Bearer {pair.site.grant('fetch', pair.source.machine, failover=FAILOVER)}"}
    base = f"{pair.address}/footage/{FAILOVER}"
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{base}/manifest") as reply:
            manifest = msgspec.json.decode(await reply.read(), type=Manifest)
        assert manifest == manifest_of(pair.folder)
        whole = (pair.folder.path / manifest.entries[0].path).read_bytes()
        url = f"{base}/files/{manifest.entries[0].path}"
        async with session.get(url, headers={"Range": "bytes=400-"}) as reply:
            assert (reply.status, await reply.read()) == (206, whole[400:])
        for malformed in ("bytes=2000-", "bytes=-", "bytes=9-1", "lines=1-2", "bytes=" + "9" * 400 + "-"):
            async with session.get(url, headers={"Range": malformed}) as reply:
                assert reply.status == 416, malformed
        async with session.post(f"{base}/manifest") as reply:
            assert reply.status == 405
