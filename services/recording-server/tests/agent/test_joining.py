"""Joining, erasing, and what cannot be started: each with one clear line."""

from __future__ import annotations

import asyncio
import signal
import socket

import msgspec
import pytest
from aiohttp import web
from understudy_contracts.commands import Activate, Erase, Release, Stage
from understudy_contracts.errors import ConfigurationError, Refused, StaleEpoch
from understudy_contracts.machine import Fence, Unassigned
from understudy_contracts.model import Role
from understudy_recording_server.identity import AgentFile
from understudy_recording_server.options import host_and_port
from understudy_recording_server.serving import advertised

PREFIX = "understudy recording-server: "


async def refusal(agent, *arguments):
    """The one line with which an agent ends that cannot start."""
    agent.log.write_text("")
    await agent.start(*arguments)
    assert await asyncio.wait_for(agent.process.wait(), 20) != 0
    lines = [line for line in agent.log.read_text().splitlines() if not line.startswith("{")]
    assert len(lines) == 1, lines
    assert lines[0].startswith(PREFIX)
    return lines[0].removeprefix(PREFIX)


async def test_a_refused_token_is_told_in_one_line(site):
    agent = site.make("north", Role.RECORDING)
    agent.environment["UNDERSTUDY_JOIN_TOKEN"] = "wrong"
    line = await refusal(agent)
    assert line == "the host refuses this machine: the token is not known here"
    assert not (agent.data_dir / "agent.json").exists()
    site.refuse_with = lambda: web.Response(text="<html>hello</html>")
    assert "is no Understudy host" in await refusal(agent)
    site.refuse_with = lambda: web.Response(status=404, text="nothing here")
    assert "HTTP status 404" in await refusal(agent)


async def test_what_cannot_be_started_says_why_in_one_line(site, tmp_path):
    agent = site.make("north", Role.RECORDING)
    agent.environment = {}
    assert "has not joined a host yet" in await refusal(agent)
    assert "unrecognized arguments: --nonsense" in await refusal(agent, "--nonsense")
    assert "is no address" in await refusal(agent, "--listen", "nonsense")
    assert "is no address of a host" in await refusal(agent, "--join", "file:///etc/passwd", "--token", "t")
    assert "no token to join with" in await refusal(agent, "--join", "http://127.0.0.1:9")
    assert "cannot write to the data folder" in await refusal(agent, "--data-dir", "/proc/nowhere")
    agent.environment = {"UNDERSTUDY_MAXIMUM_CAMERAS": "-1"}
    assert "maximum_cameras" in await refusal(agent)
    agent.environment = {}
    (agent.data_dir / "agent.json").write_bytes(b"{")
    assert "agent.json is damaged" in await refusal(agent)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 99999, b'{"machine": "M.1"}'])
def test_a_damaged_identity_is_never_taken_for_none(tmp_path, content):
    (tmp_path / "agent.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match="damaged"):
        AgentFile(tmp_path).load()


def test_addresses_are_read_or_refused():
    assert host_and_port("127.0.0.1:0") == ("127.0.0.1", 0)
    assert host_and_port("[::1]:80") == ("::1", 80)
    assert host_and_port("north", default_port=9) == ("north", 9)
    for wrong in ("", ":", "x", "x:", ":1", "x:y", "x:65536", "x:-1", "x:\u0661"):
        with pytest.raises(ConfigurationError):
            host_and_port(wrong)
    assert advertised("0.0.0.0:0", "north:8", 9, []) == "http://north:8"
    assert advertised("127.0.0.1:0", "", 9, []) == "http://127.0.0.1:9"
    assert advertised("[::1]:0", "", 9, []) == "http://[::1]:9"
    assert advertised("0.0.0.0:0", "", 9, ["nats://127.0.0.1:4222"]) == "http://127.0.0.1:9"


async def test_ports_and_folders_are_not_shared(site):
    agent = site.make("north", Role.RECORDING)
    await agent.start()
    await site.beat(agent)
    second = site.make("other", Role.RECORDING)
    assert "another agent uses the data folder" in await refusal(second, "--data-dir", str(agent.data_dir))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot serve footage at {address}" in await refusal(second, "--listen", address)


async def test_a_machine_waits_for_its_host_and_joins_once(site, wait_for):
    agent = site.make("north", Role.RECORDING)
    site.refuse_with = lambda: web.Response(status=503)
    await agent.start()
    await wait_for(lambda: len(site.requests) > 1)
    site.refuse_with = None
    beat = await site.beat(agent)
    assert isinstance(beat.duty, Unassigned)
    assert not beat.configured
    assert (agent.data_dir / "agent.json").stat().st_mode & 0o777 == 0o600
    joined = len(site.requests)
    await agent.end()
    await agent.start()
    await site.beat(agent, lambda again: again.boot != beat.boot)
    assert len(site.requests) == joined
    token = agent.environment["UNDERSTUDY_JOIN_TOKEN"]
    assert token not in (agent.data_dir / "agent.json").read_text() + agent.log.read_text()

    # A new invitation is followed by the same machine.
    await agent.end()
    site.invited["another"] = ("north", Role.RECORDING, None)
    agent.environment["UNDERSTUDY_JOIN_TOKEN"] = "another"
    before = site.beats.pop(agent.machine)
    await agent.start()
    await site.beat(agent, lambda again: again.boot != before.boot)
    assert len(site.requests) == joined + 1
    assert site.requests[-1].machine == agent.machine


async def test_ending_while_waiting_for_the_host(site, wait_for):
    agent = site.make("north", Role.RECORDING)
    site.refuse_with = lambda: web.Response(status=503)
    await agent.start()
    await wait_for(lambda: bool(site.requests))
    assert await agent.end() == 0


async def test_a_new_failover_server_is_erased_with_a_token_only(site):
    token = site.grant("erase", "m-spare", serial="one")
    agent = site.make("spare", Role.FAILOVER, erase_token=token)
    old = agent.data_dir / "recordings/cam-1/2025-10-09/1760000000000_1.mp4"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    await agent.start()
    await site.beat(agent)
    assert not old.exists()
    await agent.end()

    # Without a token nothing is erased, and the host can see that there is something.
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    site.invited["again"] = ("spare", Role.FAILOVER, None)
    agent.environment["UNDERSTUDY_JOIN_TOKEN"] = "again"
    before = site.beats.pop(agent.machine)
    await agent.start()
    await site.beat(agent, lambda beat: beat.boot != before.boot and beat.footage_bytes == 3)
    assert old.exists()
    with pytest.raises(Refused, match="used already"):
        await site.command(agent, Erase(token))
    assert old.exists()


async def test_erasing_keeps_the_fences_and_is_done_once(site, cameras):
    agent = await site.failover_server("spare")
    await site.command(agent, Stage(site.settings("north", cameras, ["cam-1"])))
    await site.command(agent, Activate(4, 2, "f-4", "s-north", 1, ["cam-1"]))
    await site.beat(agent, lambda beat: any(c.first_key_frame_at for c in beat.cameras))
    for wrong in (
        site.grant("erase", "m-other", serial="two"),
        site.grant("fetch", agent.machine, serial="two"),
        site.grant("erase", agent.machine),
        site.grant("erase", agent.machine, serial="two", expires_at=1),
        "nonsense",
    ):
        with pytest.raises(Refused):
            await site.command(agent, Erase(wrong))
    assert agent.files("failovers", "**/*.mp4*")
    token = site.grant("erase", agent.machine, serial="two")
    state = await site.command(agent, Erase(token))
    assert (state.staged, state.cameras, state.footage_bytes) == ({}, [], 0)
    assert isinstance(state.duty, Unassigned)
    assert state.fence == Fence(4, 2)
    left = [path for path in agent.data_dir.rglob("*") if path.is_file()]
    assert {path.name for path in left} <= {
        "agent.json",
        ".agent.json.copy",
        "agent.creds",
        "agent.lock",
        "recorder.lock",
        ".probe-storage",
    }
    with pytest.raises(Refused, match="used already"):
        await site.command(agent, Erase(token))
    with pytest.raises(StaleEpoch):
        await site.command(agent, Release(4, 1, "f-4"))

    # It can be put to work again at once.
    await site.command(agent, Stage(site.settings("north", cameras, ["cam-1"], version=2)))
    await site.command(agent, Activate(5, 1, "f-5", "s-north", 2, ["cam-1"]))
    await site.beat(agent, lambda beat: any(c.first_key_frame_at for c in beat.cameras))


async def test_an_erasure_that_was_interrupted_is_brought_to_its_end(site):
    agent = await site.failover_server("spare")
    await agent.end()
    old = agent.data_dir / "snapshots/cam-1/2025-10-09/1760000000000.jpg"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    record = msgspec.json.decode((agent.data_dir / "agent.json").read_bytes())
    (agent.data_dir / "agent.json").write_bytes(msgspec.json.encode({**record, "erasing": True}))
    before = site.beats.pop(agent.machine)
    await agent.start()
    await site.beat(agent, lambda beat: beat.boot != before.boot)
    assert not old.exists()
    assert not msgspec.json.decode((agent.data_dir / "agent.json").read_bytes()).get("erasing")


async def test_who_crashed_before_it_had_the_answer_asks_again_with_the_same_key(site, wait_for):
    agent = site.make("north", Role.RECORDING)
    site.refuse_with = lambda: web.Response(status=503)
    await agent.start()
    await wait_for(lambda: bool(site.requests))
    await agent.end(signal.SIGKILL)
    site.refuse_with = None
    await agent.start()
    await site.beat(agent)
    assert len({request.public_key for request in site.requests}) == 1
    assert not (agent.data_dir / "joining.key").exists()
