"""`understudy failover`: start, stop, watch."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from understudy_contracts.errors import Unavailable
from understudy_contracts.failovers import Failover
from understudy_contracts.model import Phase

from understudy_cli.api import STREAM_OPEN, Api
from understudy_cli.client.calls import AsJson, Url, Yes, call, confirmed, console, say, show
from understudy_cli.tables import plain_table, time_words

failover = typer.Typer(help="Failovers: list, start, stop, watch.", no_args_is_help=False)

FailoverArgument = Annotated[str, typer.Argument(metavar="FAILOVER", help="its id, like f-12")]

_STEPS_OF = {
    Phase.WAITING: 0,
    Phase.LICENSING: 5,
    Phase.ACTIVATING: 10,
    Phase.STANDING_DOWN: 20,
    Phase.ACTIVE: 25,
    Phase.HANDING_BACK: 35,
    Phase.REPLACING: 35,
    Phase.RESTORING: 45,
    Phase.CLEARING: 95,
    Phase.DONE: 100,
}
_AGAIN_S = 1.0


@failover.callback(invoke_without_command=True)
def list_failovers(
    context: typer.Context,
    server: Annotated[str, typer.Option("--server", metavar="SERVER", help="only this one's")] = "",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """All failovers, or what a sub-command does with one."""
    if context.invoked_subcommand is not None:
        return
    found = call(url, lambda api: api.items("/failovers", server=server or None))
    rows = (
        (
            each["id"],
            each.get("server_name") or each["server"],
            each.get("failover_server_name") or each.get("failover_server") or "",
            each.get("outcome") or each["phase"],
            time_words(each["created_at"]),
            each.get("waiting_for") or each["reason"]["text"],
        )
        for each in found
    )
    headings = ["FAILOVER", "SERVER", "BY", "PHASE", "BEGAN", "REASON"]
    show(found, plain_table(headings, rows), as_json=as_json)


@failover.command("start")
def start(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="the recording server's id")],
    to: Annotated[str, typer.Option("--to", metavar="SERVER", help="else the host chooses")] = "",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Let a failover server take over."""
    body = {"failover_server": to or None}
    made = call(url, lambda api: api.post(f"/servers/{server}/failover", body))
    show(
        made, f"{made['id']} started; watch it with 'understudy failover watch {made['id']}'", as_json=as_json
    )


@failover.command("stop")
def stop(failover_id: FailoverArgument, yes: Yes = False, url: Url = "", as_json: AsJson = False) -> None:
    """End a failover: the recording server records again, and gets the footage made meanwhile."""

    async def work(api: Api) -> Any:
        return await confirmed(
            lambda confirmation: api.post(
                f"/failovers/{failover_id}/stop", {"confirmation": confirmation} if confirmation else {}
            ),
            yes=yes,
        )

    show(call(url, work), f"{failover_id} is ending", as_json=as_json)


@failover.command("stop-restoration")
def stop_restoration(failover_id: FailoverArgument, url: Url = "", as_json: AsJson = False) -> None:
    """Bring no more footage home: what has not come across is removed."""
    answer = call(url, lambda api: api.post(f"/failovers/{failover_id}/stop-restoration", {}))
    show(answer, f"{failover_id}: restoration is ending", as_json=as_json)


@failover.command("watch")
def watch(failover_id: FailoverArgument, url: Url = "", as_json: AsJson = False) -> None:
    """Follow a failover until it is done; with --json a line for each change."""

    async def work(api: Api) -> None:
        with contextlib.ExitStack() as stack:
            bar = None if as_json else stack.enter_context(_bar())
            task = None if bar is None else bar.add_task("", total=100)
            last = ""
            async for now in follow(api, failover_id):
                words = words_of(now)
                if bar is None or task is None:
                    sys.stdout.write(msgspec.json.encode(now).decode() + "\n")
                    sys.stdout.flush()
                elif not console.is_terminal and words != last:
                    say(words)
                else:
                    bar.update(task, completed=percent_of(now), description=words)
                last = words

    call(url, work)


async def follow(api: Api, failover_id: str) -> AsyncIterator[Failover]:
    """Each state of a failover as it happens, the present one first, the last one when it is done.

    Events only say when to look: the document is read each time, first when the stream is open, so that
    nothing is missed when it breaks.
    """
    while True:
        with contextlib.suppress(Unavailable):
            async for event in api.events(kinds="failover,restoration"):
                if event.event != STREAM_OPEN and msgspec.json.decode(event.data)["subject"] != failover_id:
                    continue
                now = msgspec.convert(await api.get(f"/failovers/{failover_id}"), Failover)
                yield now
                if now.phase is Phase.DONE:
                    return
        await asyncio.sleep(_AGAIN_S)
        await api.get(f"/failovers/{failover_id}")  # if the API is gone for good, this says so


def percent_of(now: Failover) -> float:
    """How far a failover has come, 0 to 100, for a progress bar: bringing footage home takes half of it."""
    begun = _STEPS_OF[now.phase]
    if now.phase is Phase.RESTORING and now.restoration is not None:
        return begun + now.restoration.percent * (_STEPS_OF[Phase.CLEARING] - begun) / 100
    return float(begun)


def words_of(now: Failover) -> str:
    """One line about where a failover is."""
    words = [now.id, str(now.outcome or now.phase)]
    if now.phase is Phase.RESTORING and now.restoration is not None:
        words.append(f"{now.restoration.percent:.0f} %")
    if now.failover_server_name:
        words.append(f"{now.server_name} by {now.failover_server_name}")
    if now.waiting_for:
        words.append(f"waits: {now.waiting_for}")
    return ", ".join(words)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
