"""The console in a real browser: it logs in, and sees the lists change without being asked."""

import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_in_tests import ADMINISTRATOR, running_gateway
from monitor_in_tests import Teller, a_failover, glance
from playwright.async_api import async_playwright, expect
from understudy_contracts.failovers import RestorationSummary
from understudy_contracts.model import Phase, Role, Service, Status

# As patient as the pages: a browser that starts on a busy machine is slow, and the console itself waits for
# seconds before it tries again. (What a page's `set_default_timeout` says does not hold for these.)
PATIENCE_MS = 15_000
expect.set_options(timeout=PATIENCE_MS)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def page(chromium):
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        opened = await browser.new_page(viewport={"width": 1280, "height": 860})
        opened.set_default_timeout(PATIENCE_MS)
        complaints = []
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on(
            "console",
            lambda message: complaints.append(message.text) if "Content Security" in message.text else None,
        )
        yield opened
        assert complaints == []
        await browser.close()


@asynccontextmanager
async def told(host, database):
    async with host.bus(Service.MONITOR) as monitor, host.bus(Service.ORCHESTRATOR) as orchestrator:
        yield Teller(database, monitor, orchestrator)


async def log_in(page, gateway, password=ADMINISTRATOR[1]):
    await page.goto(gateway.url)
    await page.get_by_label("User name").fill(ADMINISTRATOR[0])
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()


async def picture(page, name):
    """Keep what it looks like, for people, where UNDERSTUDY_DATA_DIR says so."""
    folder = os.environ.get("UNDERSTUDY_DATA_DIR")
    if folder:
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def test_it_shows_each_change_as_it_happens(gateway, admin, host, database, page):
    await log_in(page, gateway, "wrong")
    await expect(page.get_by_role("alert")).to_have_text("Wrong user name or password")
    await picture(page, "login")
    await log_in(page, gateway)
    await expect(page.get_by_text("No recording servers yet")).to_be_visible()
    await expect(page.locator("#live-text")).to_have_text("Live")
    await picture(page, "empty")

    await admin.add_failover_server("Spare 1")
    await admin.add_failover_server("Spare 2")
    for name in ("North gate", "Warehouse", "Parking deck"):
        await admin.add_recording_server(name, pairing="all")
    north = page.locator("#server-north-gate")
    await expect(north).to_contain_text("no machine has joined yet")

    async with told(host, database) as teller:
        for number, server in enumerate(("north-gate", "warehouse", "parking-deck")):
            await teller.status(
                server,
                Role.RECORDING,
                Status.NORMAL,
                protected=number != 2,
                cameras_active=4 + number,
                protection="" if number != 2 else "settings are not staged yet",
                cameras_maximum=90,
            )
        for spare in ("spare-1", "spare-2"):
            await teller.status(spare, Role.FAILOVER, Status.STANDBY, cameras_maximum=90)
        await expect(north.locator(".badge")).to_have_text("Normal")
        await expect(north).to_contain_text("Protected")
        await expect(page.get_by_role("button", name="Normal 3")).to_be_visible()
        await expect(page.get_by_role("button", name="Standby 2")).to_be_visible()
        await picture(page, "normal")

        failover = a_failover("north-gate", "spare-1", Phase.ACTIVE)
        await teller.failover(failover)
        await teller.status(
            "north-gate",
            Role.RECORDING,
            Status.FAILED_OVER,
            reason="No sign of life for 5.0 s",
            failover=glance(failover, "spare-1", "Spare 1"),
            cameras_maximum=90,
        )
        await teller.status(
            "spare-1",
            Role.FAILOVER,
            Status.FAILED_OVER,
            reason="No sign of life for 5.0 s",
            failover=glance(failover, "north-gate", "North gate"),
            cameras_active=4,
            cameras_maximum=90,
        )
        await expect(north.locator(".badge")).to_have_text("Failed Over")
        await expect(north).to_contain_text("No sign of life for 5.0 s")
        await north.get_by_role("link", name="Spare 1").click()
        await expect(page.locator("#server-spare-1")).to_be_focused()
        await expect(page.get_by_role("article")).to_contain_text("North gate → ")
        await expect(page.get_by_role("button", name="Failed Over 1")).to_have_count(2)
        await page.get_by_text("3 steps").click()
        await expect(page.get_by_text("Open copy")).to_be_visible()
        await picture(page, "failed-over")
        await page.emulate_media(color_scheme="dark")
        await picture(page, "failed-over-dark")
        await page.emulate_media(color_scheme="light")
        await page.set_viewport_size({"width": 400, "height": 860})
        await picture(page, "failed-over-narrow")
        await page.set_viewport_size({"width": 1280, "height": 860})

        await page.get_by_role("button", name="Failed Over 1").first.click()
        await expect(page.locator("#recording-rows > li")).to_have_count(1)
        await page.get_by_role("button", name="All 3").click()

        restoring = a_failover(
            "north-gate", "spare-1", Phase.RESTORING, restoration=RestorationSummary(percent=42.7)
        )
        await teller.failover(restoring)
        await teller.status("north-gate", Role.RECORDING, Status.NORMAL, cameras_active=4, cameras_maximum=90)
        await teller.status(
            "spare-1",
            Role.FAILOVER,
            Status.FAILED_OVER,
            cameras_maximum=90,
            failover=glance(restoring, "north-gate", "North gate", 42.7),
        )
        await expect(page.locator("#server-spare-1 .badge")).to_have_text("Failed Over (42 % restoring)")
        await expect(page.get_by_role("article")).to_contain_text("Restoring footage (42 %)")
        await expect(page.get_by_text("Open copy")).to_be_visible()  # what was unfolded stays so


async def test_a_failover_is_started_from_its_row_after_a_dialog(gateway, admin, host, database, page):
    await admin.add_failover_server("Spare 1")
    await admin.add_recording_server("North gate", pairing="all")
    async with told(host, database) as teller:
        await teller.status("north-gate", Role.RECORDING, Status.NORMAL, cameras_maximum=90)
        await log_in(page, gateway)
        await page.get_by_role("button", name="Fail over… (North gate)").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Fail over North gate?")
        await picture(page, "dialog")
        await dialog.get_by_role("button", name="Start failover").click()
        # No orchestrator runs here, and the dialog says so in one clear sentence.
        await expect(dialog.get_by_role("alert")).to_have_text("The orchestrator is not on the bus")
        await dialog.get_by_role("button", name="Cancel").click()
        await expect(dialog).to_be_hidden()


async def test_it_says_that_it_is_offline_and_catches_up_afterwards(host, database, page):
    async with running_gateway(host) as first:
        await log_in(page, first)
        await expect(page.locator("#live-text")).to_have_text("Live")
        listen = first.url.removeprefix("http://")
    await expect(page.locator("#live-text")).to_contain_text("Offline")
    async with running_gateway(host, listen=listen) as second:
        admin = await second.log_in()
        await admin.add_recording_server("Meanwhile")
        await expect(page.locator("#live-text")).to_have_text("Live")
        await expect(page.locator("#server-meanwhile")).to_be_visible()


async def test_a_viewer_sees_but_is_offered_nothing_to_do(gateway, admin, page):
    await admin.add_failover_server("Spare 1")
    await admin.add_recording_server("North gate", pairing="all")
    body = {"username": "vera", "password": "long enough 1", "role": "viewer"}
    await admin.call("POST", "/users", json=body, expect=201)
    await page.goto(gateway.url)
    await page.get_by_label("User name").fill("vera")
    await page.get_by_label("Password").fill("long enough 1")
    await page.get_by_label("Password").press("Enter")
    await expect(page.locator("#server-north-gate")).to_be_visible()
    await expect(page.get_by_role("button", name="Fail over")).to_have_count(0)
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_maintenance_is_planned_seen_and_ended(gateway, admin, host, database, page):
    await admin.add_recording_server("North gate")
    await log_in(page, gateway)
    north = page.locator("#server-north-gate")
    await north.get_by_role("button", name="Plan maintenance… (North gate)").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("For").select_option("4 h")
    await picture(page, "plan-maintenance")
    await dialog.get_by_role("button", name="Begin maintenance").click()
    await expect(dialog).to_be_hidden()
    await expect(north).to_contain_text("Maintenance until ")
    await picture(page, "maintenance")
    until = (await admin.get("/servers/north-gate"))["maintenance_until"]
    assert until == pytest.approx(time.time() * 1000 + 4 * 3_600_000, abs=60_000)
    await north.get_by_role("button", name="End maintenance (North gate)").click()
    await dialog.get_by_role("button", name="End maintenance").click()
    await expect(north).not_to_contain_text("Maintenance until ")
    assert (await admin.get("/servers/north-gate"))["maintenance_until"] is None


async def test_failover_settings_are_edited_and_asked_about_in_a_failover(
    gateway, admin, host, database, page
):
    await admin.add_failover_server("Spare 1")
    await admin.add_recording_server("North gate", pairing="all")
    await log_in(page, gateway)
    dialog = page.get_by_role("dialog")
    await page.get_by_role("button", name="Default failover settings").click()
    await dialog.get_by_label("Connection lost for (s)").fill("30")
    await dialog.get_by_label("… or degraded").check()
    await picture(page, "settings")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_be_hidden()
    defaults = await admin.get("/failover-settings")
    assert defaults["disconnection"] == {"enabled": True, "after_s": 30.0}
    assert defaults["storage"]["degraded_too"] is True

    async with told(host, database) as teller:
        await teller.failover(a_failover("north-gate", "spare-1", Phase.ACTIVE))
    await page.get_by_role("button", name="Failover settings (North gate)").click()
    await expect(dialog.get_by_label("Cleared for (s)")).to_be_disabled()
    await dialog.get_by_label("Its own, not the defaults").check()
    await dialog.get_by_label("Footage of the failover").select_option("Is discarded")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_contain_text("erases the data of Spare 1")
    await dialog.get_by_role("button", name="Save anyway").click()
    # No orchestrator runs here to stop the failover, so nothing is changed.
    await expect(dialog.get_by_role("alert")).to_have_text("The orchestrator is not on the bus")
    assert (await admin.get("/servers/north-gate/failover-settings"))["own"] is False
