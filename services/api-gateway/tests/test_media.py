"""Media through the gateway, from a real agent with real cameras, by programs and in a real browser."""

import asyncio
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from gateway_in_tests import ADMINISTRATOR, Caller, Gateway, running_gateway
from playwright.async_api import async_playwright, expect
from service_in_tests import running_service
from test_console import FLAGS, PATIENCE_MS
from understudy_api_gateway.resources.media import gathering
from understudy_api_gateway.resources.media.holders import Holder
from understudy_api_gateway.resources.media.relay import Relay
from understudy_api_gateway.resources.media.tickets import media_grant
from understudy_contracts.errors import NotFound, Unavailable
from understudy_contracts.model import Service
from understudy_contracts.verbs import READ_LICENSES, READ_VERSIONS, ReadLicenses, ReadVersions
from understudy_lab.cameras import ClipSettings, SimulatedCameras
from understudy_runtime.grants import Signer, verify_grant


@dataclass
class House:
    """A gateway, and one agent that records two cameras."""

    gateway: Gateway
    admin: Caller
    folder: Path
    cameras: SimulatedCameras

    def files(self, camera: str) -> list[Path]:
        return sorted((self.folder / "recordings" / camera).glob("*/*.mp4"))

    async def ticket(self, camera: str) -> str:
        return (await self.admin.call("POST", f"/cameras/{camera}/ticket", expect=201)).json()["ticket"]


@asynccontextmanager
async def agent(folder: Path, gateway: Gateway, token: str):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")}
    told = {"UNDERSTUDY_JOIN": gateway.url, "UNDERSTUDY_JOIN_TOKEN": token}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "understudy_recording_server", "--data-dir", str(folder),
        stderr=asyncio.subprocess.DEVNULL, env={**environment, **told},
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)


@pytest.fixture
async def house(host, database, tmp_path, tmp_path_factory):
    clip = ClipSettings(width=320, height=180, fps=25, bitrate_kbit=300, gop_s=0.4, length_s=2.0)
    cache = tmp_path_factory.getbasetemp() / "clips"
    async with host.bus(Service.API_GATEWAY) as bus:

        async def ask_replicator():
            await bus.ask(READ_VERSIONS, ReadVersions("nobody"))

        async def ask_broker():
            await bus.ask(READ_LICENSES, ReadLicenses())

        async with (
            SimulatedCameras(["cam-1", "cam-2"], clip=clip, cache_dir=cache) as cameras,
            running_service(host, Service.CONFIG_REPLICATOR, knock=ask_replicator),
            running_service(host, Service.LICENSE_BROKER, knock=ask_broker),
            running_gateway(host) as gateway,
        ):
            admin = await gateway.log_in()
            added = await admin.add_recording_server("North")
            keys = {"keys": ["KEY-0001", "KEY-0002"], "server": "north"}
            await admin.call("POST", "/licenses", json=keys, expect=201)
            settings = await admin.get("/servers/north/settings")
            wanted = {
                "segment_s": 2,
                "cameras": [
                    {"id": camera, "name": camera.upper(), "source": {"url": cameras.url(camera)}}
                    for camera in cameras.ids
                ],
            }
            body = {"settings": wanted, "expected_version": settings["version"]}
            await admin.call("PUT", "/servers/north/settings", json=body, expect=200)
            folder = tmp_path / "north"
            async with agent(folder, gateway, added["join_token"]):
                made = House(gateway, admin, folder, cameras)
                async with asyncio.timeout(40):
                    while len(made.files("cam-1")) < 2:
                        await asyncio.sleep(0.05)
                yield made


async def test_a_camera_shows_its_health(house):
    async with asyncio.timeout(20):
        while not ((await house.admin.get("/cameras/cam-1"))["health"] or {}).get("fps"):
            await asyncio.sleep(0.1)
    shown = (await house.admin.get("/servers/north/cameras"))["items"][0]
    assert (shown["id"], shown["state"], shown["served_by"]) == ("cam-1", "recording", "north")
    health = shown["health"]
    assert health["connected_at"] <= health["last_frame_at"] <= time.time() * 1000 + 1000
    assert health["bitrate_bps"] > 10_000
    assert health["reconnects"] == 0
    assert set(health) >= {"clock_skew_ms", "fps"}


async def test_playback_comes_through_the_gateway_with_ranges(house):
    admin, files = house.admin, house.files("cam-1")
    begin, end = int(files[0].name.split("_")[0]), int(time.time() * 1000)
    timeline = await admin.get(f"/cameras/cam-1/timeline?from={begin}&to={end}")
    assert [(span["start_ms"], span["server"]) for span in timeline["spans"]] == [(begin, "north")]
    assert timeline["unreachable"] == []
    listed = await admin.get(f"/cameras/cam-1/recordings?from={begin}&to={end}")
    assert listed["items"][0]["name"] == files[0].name
    assert listed["items"][0]["server"] == "north"
    content = files[0].read_bytes()
    path = f"/cameras/cam-1/recordings/{files[0].name}"
    whole = await admin.call("GET", path, expect=200)
    assert (whole.content, whole.headers["content-type"]) == (content, "video/mp4")
    part = await admin.call("GET", f"{path}?server=north", expect=206, headers={"Range": "bytes=5-99"})
    assert (part.content, part.headers["content-range"]) == (content[5:100], f"bytes 5-99/{len(content)}")
    assert part.headers["understudy-server"] == "north"
    span = f"/cameras/cam-1/span.mp4?from={begin}&to={begin + 3000}"
    joined = await admin.call("GET", span, expect=200)
    assert int(joined.headers["content-length"]) == len(joined.content) > 1000
    tail = await admin.call("GET", span, expect=206, headers={"Range": "bytes=-50"})
    assert tail.content == joined.content[-50:]

    ticket = await house.ticket("cam-1")
    http = house.gateway.http
    assert (await http.get(f"/api/v1{path}?ticket={ticket}")).content == content
    for wrong, status in (("junk", 401), (await house.ticket("cam-2"), 401), ("", 401), ("x" * 3000, 401)):
        assert (await http.get(f"/api/v1{path}?ticket={wrong}")).status_code == status
    assert (await http.get(f"/api/v1{path}")).status_code == 401
    for wrong, status in [
        ("/cameras/cam-9/timeline?from=1&to=2", 404), ("/cameras/CAM/timeline?from=1&to=2", 400),
        ("/cameras/cam-1/recordings/..%2Fagent.json", 404), ("/cameras/cam-1/recordings/x.mp4", 400),
        ("/cameras/cam-1/recordings/agent.json", 404), ("/cameras/cam-1/span.mp4?from=1&to=2", 404),
        (f"/cameras/cam-1/span.mp4?from={end}&to={begin}", 400), (f"{path}?server=nobody", 404),
    ]:  # fmt: skip
        assert (await admin.call("GET", wrong)).status_code == status, wrong


async def test_what_makes_no_sense_is_told_to_who_asked(house):
    admin, now = house.admin, int(time.time() * 1000)
    for query in ("", "from=x&to=9", "from=9&to=1", "from=-5&to=9", "from=NaN", "from=1&from=2&to=9",
                  f"from={'9' * 5000}", f"from=0&to={now}", "from=%D9%A3&to=9"):  # fmt: skip
        for path in ("timeline", "recordings", "snapshots", "span.mp4"):
            answer = await admin.call("GET", f"/cameras/cam-1/{path}?{query}")
            assert answer.status_code == 400, (path, query, answer.text)
            assert "from" in answer.json()["detail"]
    for limit in ("0", "-1", "5001", "x"):
        query = f"from={now - 9000}&to={now}&limit={limit}"
        answer = await admin.call("GET", f"/cameras/cam-1/recordings?{query}")
        assert (answer.status_code, "limit" in answer.json()["detail"]) == (400, True)
    address = f"{house.gateway.url}/api/v1/cameras/cam-1/live?stream=third"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(address, headers=admin.headers) as connection,
    ):
        closed = await connection.receive(timeout=10)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 4404)
        assert "stream" in str(closed.extra)


async def test_why_there_is_no_picture_is_told(house):
    house.cameras.camera("cam-1").set_fault("stall")
    async with asyncio.timeout(40):
        while (await house.admin.get("/cameras/cam-1"))["state"] == "recording":
            await asyncio.sleep(0.1)
    answer = await house.admin.call("GET", "/cameras/cam-1/snapshot.jpg")
    assert answer.status_code == 503
    assert "sends no picture now" in answer.json()["detail"]


async def test_who_took_over_while_it_was_looked_up_is_asked(monkeypatch):
    """One machine serves the camera at first, another afterwards."""
    asked = []

    async def holders_of(_parts, _camera):
        return [Holder("north", "m-north", "http://127.0.0.1:9")]

    async def answered(_relay, holder, _camera, path, _query, *, method):
        asked.append((holder.server, path, method))

    monkeypatch.setattr(gathering, "holders_of", holders_of)
    monkeypatch.setattr(Relay, "json", answered)
    serving = SimpleNamespace(server="spare", machine="m-spare", address="http://127.0.0.1:9")
    states = SimpleNamespace(serving=lambda _camera: serving)
    parts: Any = SimpleNamespace(machine_states=states, http=None)
    await gathering.tell_serving(parts, "cam-1", "events")
    assert asked == [("spare", "events", "POST")]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([503, 404], "no picture now"),
        ([404, 503], "no picture now"),
        ([None, 404], "cannot be reached"),
        ([404, 404], "no server has it"),
        ([], "has been heard of"),
    ],
)
async def test_that_one_machine_has_it_not_hides_no_other_reason(monkeypatch, answers, error):
    async def asked(_relay, holder, *_, **__):
        if answers[int(holder.server)] is None:
            raise Unavailable("it cannot be reached")
        return SimpleNamespace(status=answers[int(holder.server)])

    async def problem(_relay, answer, _holder):
        return NotFound("not here") if answer.status == 404 else Unavailable("no picture now")

    monkeypatch.setattr(Relay, "ask", asked)
    monkeypatch.setattr(Relay, "problem", problem)
    holders = [Holder(str(number), f"m-{number}", "") for number in range(len(answers))]
    parts: Any = SimpleNamespace(machine_states=None, http=None)
    request: Any = SimpleNamespace(query_params=SimpleNamespace(getall=lambda _name, none: none), headers={})
    with pytest.raises(NotFound if answers == [404, 404] else Unavailable, match=error):
        await gathering.first_answer(parts, request, "cam-1", "snapshot.jpg", holders)


def test_the_right_to_ask_a_machine_bears_clocks_an_hour_apart():
    now = 1_800_000_000_000
    clock = SimpleNamespace(wall_ms=lambda: now)
    parts: Any = SimpleNamespace(clock=clock, signer=Signer.generate())
    token, _ = media_grant(parts, "m-north", "cam-1")
    told = verify_grant(
        token, parts.signer.public_key, purpose="media", machine="m-north", now_ms=now + 3_600_000
    )
    assert told.camera == "cam-1"


async def first_fragment(connection):
    begin = json.loads((await connection.receive(timeout=10)).data)
    while begin["type"] == "waiting":
        begin = json.loads((await connection.receive(timeout=10)).data)
    head = await connection.receive_bytes(timeout=10)
    return begin, head, await connection.receive_bytes(timeout=10)


async def test_live_view_comes_through_the_gateway_and_directly(house):
    address = f"{house.gateway.url}/api/v1/cameras/cam-1/live"
    async with aiohttp.ClientSession() as http:
        began = time.monotonic()
        async with http.ws_connect(address, headers=house.admin.headers) as connection:
            begin, head, fragment = await first_fragment(connection)
            print(f"first frame through the gateway after {(time.monotonic() - began) * 1000:.0f} ms")
        assert begin["mime"].startswith("video/mp4")
        assert head[4:8] == b"ftyp"
        assert fragment[4:8] == b"moof"
        for query, headers, code in [
            ("", {}, 4401), ("?ticket=junk", {}, 4401), (f"?ticket={await house.ticket('cam-2')}", {}, 4401),
        ]:  # fmt: skip
            async with http.ws_connect(address + query, headers=headers) as connection:
                assert (await connection.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
                assert connection.close_code == code
        foreign = {**house.admin.headers, "Origin": "https://elsewhere.example"}
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(address, headers=foreign)

        direct = (await house.admin.call("POST", "/cameras/cam-1/direct", expect=201)).json()
        assert direct["server"] == "north"
        async with http.ws_connect(f"{direct['address']}/live?token={direct['token']}") as connection:
            assert (await first_fragment(connection))[2][4:8] == b"moof"

        # The login ends, and with it what it had opened.
        other = await house.gateway.log_in()
        async with http.ws_connect(address, headers=other.headers) as connection:
            await first_fragment(connection)
            await other.call("DELETE", "/session", expect=204)
            async with asyncio.timeout(10):
                while not connection.closed:
                    await connection.receive()
            assert connection.close_code == 4401


@asynccontextmanager
async def watching(house, chromium, script=""):
    """A page that shows the first camera's live picture, after `script` has run in it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(PATIENCE_MS)
        await page.add_init_script(script)
        complaints: list[Any] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if "Content Security" in message.text else None,
        )
        await page.goto(house.gateway.url)
        await page.get_by_label("User name").fill(ADMINISTRATOR[0])
        await page.get_by_label("Password").fill(ADMINISTRATOR[1])
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("button", name="Live view (North)").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="CAM-1").click()
        await page.wait_for_function("() => document.querySelector('video')?.currentTime > 0.5")
        yield page, dialog
        assert complaints == []
        await browser.close()


async def test_the_picture_moves_in_a_browser(house, chromium):
    async with watching(house, chromium) as (page, dialog):
        before = await page.evaluate("document.querySelector('video').currentTime")
        await page.wait_for_function(f"() => document.querySelector('video').currentTime > {before} + 1")
        assert await page.evaluate("document.querySelector('video').videoWidth") == 320
        # Not by now: one that has fallen behind skips some to be there again.
        await page.wait_for_function(
            "() => document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 20"
        )
        await expect(dialog.get_by_role("status")).to_be_hidden()
        folder = os.environ.get("UNDERSTUDY_DATA_DIR")
        if folder:
            await page.screenshot(path=Path(folder) / "live.png")
        house.cameras.camera("cam-1").set_fault("stall")
        await expect(dialog.get_by_role("status")).to_have_text("Waiting for the camera…", timeout=20_000)
        house.cameras.camera("cam-1").set_fault("none")
        await expect(dialog.get_by_role("status")).to_be_hidden(timeout=20_000)
        await dialog.get_by_role("button", name="Close").click()
        await expect(dialog).to_be_hidden()


BREAKS_BEHIND_A_FRAME = """
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    window.socket = this;
    this.addEventListener("message", (event) => { if (window.breaks) event.stopImmediatePropagation(); });
  }
};
const append = SourceBuffer.prototype.appendBuffer;
SourceBuffer.prototype.appendBuffer = function (data) {
  append.call(this, data);
  if (!window.breakWith) return;
  window.socket.dispatchEvent(window.breakWith);
  window.breaks = true;
};
"""
"""Once told to, the page hears that the video stops while the browser is still busy with the last frame."""


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("new MessageEvent('message', {data: '{\"type\":\"waiting\"}'})", "Waiting for the camera…"),
        ("new CloseEvent('close', {code: 4404, reason: 'it was removed'})", "It was removed"),
    ],
    ids=["waiting", "closed"],
)
async def test_that_the_picture_stands_is_said_though_the_last_frame_comes_after(
    house, chromium, event, text
):
    async with watching(house, chromium, BREAKS_BEHIND_A_FRAME) as (page, dialog):
        await expect(dialog.get_by_role("status")).to_be_hidden()
        await page.evaluate(f"() => {{ window.breakWith = {event}; }}")
        await page.wait_for_function("() => document.querySelector('video').readyState < 3")
        await expect(dialog.get_by_role("status")).to_contain_text(text)


REFUSES_ONCE = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    window.sockets.push(this);
  }
};
const append = SourceBuffer.prototype.appendBuffer;
SourceBuffer.prototype.appendBuffer = function (data) {
  if (window.refuses) {
    window.refuses = false;
    throw new DOMException("full", "QuotaExceededError");
  }
  append.call(this, data);
};
"""


async def test_a_picture_that_could_not_be_shown_is_asked_for_once_more(house, chromium):
    async with watching(house, chromium, REFUSES_ONCE) as (page, dialog):
        await page.evaluate("() => { window.refuses = true; }")
        await expect(dialog.get_by_role("status")).to_contain_text("could not be shown")
        # Its own end is no news: it does not hide why.
        await page.wait_for_function("() => window.sockets[0].readyState === WebSocket.CLOSED")
        await expect(dialog.get_by_role("status")).to_contain_text("could not be shown")
        await page.wait_for_function("() => document.querySelector('video').currentTime > 2")
        await expect(dialog.get_by_role("status")).to_be_hidden()
        assert await page.evaluate("window.sockets.length") == 2


async def test_recordings_are_shown_and_played_in_a_browser(house, chromium):
    begun = int(house.files("cam-1")[0].name.split("_")[0])
    async with watching(house, chromium) as (page, dialog):
        recordings = dialog.get_by_role("region", name="Recordings")
        await expect(recordings).to_contain_text("Recorded without a gap since")
        assert await recordings.locator(".part").count() >= 1
        await recordings.get_by_label("Time to play from").evaluate(
            "(cursor, at) => { cursor.value = at; cursor.dispatchEvent(new Event('change')); }", begun + 1000
        )
        recorded = dialog.get_by_label("Recording of CAM-1")
        await page.wait_for_function("() => document.querySelector('video[controls]')?.currentTime > 1")
        assert await recorded.evaluate("video => video.videoWidth") == 320
        shown = await recorded.evaluate(
            "video => new Date(Number(document.querySelector('.scale input').value)).getTime()"
        )
        assert begun < shown < time.time() * 1000
        folder = os.environ.get("UNDERSTUDY_DATA_DIR")
        if folder:
            await page.screenshot(path=Path(folder) / "recordings.png")
        await dialog.get_by_role("button", name="Back to live").click()
        await page.wait_for_function(
            "() => document.querySelector('video:not([controls])')?.currentTime > 0.5"
        )
        await expect(dialog.get_by_role("button", name="Back to live")).to_be_hidden()


TIMELINES = [
    # Two servers recorded at once while one took over from the other: no moment twice.
    ([(0, 9000, "a"), (8000, 20_000, "b")], 21_000, [(0, 9000, "a"), (9000, 20_000, "b")], []),
    ([(0, 9000, "a"), (2000, 8000, "b")], 9000, [(0, 9000, "a")], []),
    # Half a second between two files is none.
    ([(5000, 9000, "a"), (9500, 12_000, "a")], 12_000, [(5000, 9000, "a"), (9500, 12_000, "a")], []),
    (
        [(20_000, 30_000, "a"), (0, 9000, "b")],
        31_000,
        [(0, 9000, "b"), (20_000, 30_000, "a")],
        [[9000, 20_000]],
    ),
    # What is younger than some seconds may not be there yet.
    ([(0, 9000, "a")], 18_000, [(0, 9000, "a")], []),
    ([(0, 9000, "a")], 20_000, [(0, 9000, "a")], [[9000, 20_000]]),
    ([], 20_000, [], []),
]


async def test_which_minutes_are_missing_needs_not_be_asked(house, chromium):
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page()
        await page.goto(house.gateway.url)
        for spans, now, parts, gaps in TIMELINES:
            given = [{"start_ms": start, "end_ms": end, "server": server} for start, end, server in spans]
            found = await page.evaluate(
                """async ([spans, now]) => {
                  const { partsOf, gapsOf } = await import("/static/recordings.js");
                  const parts = partsOf(spans);
                  return [parts.map((part) => [part.start_ms, part.end_ms, part.server]), gapsOf(parts, now)];
                }""",
                [given, now],
            )
            assert found == [[list(part) for part in parts], gaps]
        await browser.close()
