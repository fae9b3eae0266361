"""`understudy status`, `servers`, `cameras`."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from understudy_contracts.errors import InvalidInput
from understudy_contracts.model import Role

from understudy_cli.api import Api
from understudy_cli.client.calls import AsJson, Url, Yes, call, confirmed, say, show
from understudy_cli.durations import seconds_of
from understudy_cli.tables import CAMERA_HEADINGS, health_words, plain_table, server_table, time_words

servers = typer.Typer(help="Recording and failover servers.", no_args_is_help=False)
cameras = typer.Typer(help="Cameras of the recording servers.", no_args_is_help=False)

ServerArgument = Annotated[str, typer.Argument(metavar="SERVER", help="its id")]


def status(url: Url = "", as_json: AsJson = False) -> None:
    """How many servers are in which state, and all of them."""

    async def work(api: Api) -> tuple[dict[str, Any], list[Any]]:
        return (await api.get("/servers", limit=1))["counts"], await api.items("/servers")

    counts, found = call(url, work)
    if not as_json:
        for role, states in counts.items():
            words = [f"{count} {state}" for state, count in states.items() if count]
            say(f"{role}: {', '.join(words) or 'none'}")
    show({"counts": counts, "items": found}, server_table(found), as_json=as_json)


@servers.callback(invoke_without_command=True)
def list_servers(context: typer.Context, url: Url = "", as_json: AsJson = False) -> None:
    """All servers, or what a sub-command does with one."""
    if context.invoked_subcommand is None:
        found = call(url, lambda api: api.items("/servers"))
        show(found, server_table(found), as_json=as_json)


@servers.command("add")
def add_server(
    name: str,
    role: Annotated[Role, typer.Option(help="a failover server's machine is erased when it joins")],
    site: Annotated[str, typer.Option()] = "default",
    maximum_cameras: Annotated[int | None, typer.Option(min=0, max=2000)] = None,
    pair: Annotated[str, typer.Option(help="'all', or ids of failover servers, comma separated")] = "",
    yes: Yes = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Add a server, and get the token with which its machine joins."""
    body: dict[str, Any] = {"name": name, "role": str(role), "site": site}
    if maximum_cameras is not None:
        body["maximum_cameras"] = maximum_cameras
    if pair:
        body["pairing"] = pairing_of(pair)

    async def work(api: Api) -> Any:
        return await confirmed(
            lambda confirmation: api.post(
                "/servers", {**body, **({"confirmation": confirmation} if confirmation else {})}
            ),
            yes=yes,
        )

    added = call(url, work)
    show(
        added,
        f"{added['server']['id']} added; its machine joins with the token {added['join_token']}",
        as_json=as_json,
    )


@servers.command("pair")
def pair_server(server: ServerArgument, failover_servers: str, url: Url = "") -> None:
    """Say which failover servers may take over: 'all', or their ids, comma separated."""
    wanted = pairing_of(failover_servers)
    call(url, lambda api: api.put(f"/servers/{server}/pairing", {"failover_servers": wanted}))
    say(f"{server} is paired with {failover_servers}")


@servers.command("remove")
def remove_server(server: ServerArgument, yes: Yes = False, url: Url = "") -> None:
    """Delete a server."""

    async def work(api: Api) -> None:
        await confirmed(
            lambda confirmation: api.delete(f"/servers/{server}", confirmation=confirmation), yes=yes
        )

    call(url, work)
    say(f"{server} removed")


@servers.command("maintenance")
def plan_maintenance(
    server: ServerArgument,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="from now, like 90m or 1h30m")] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="like 2026-01-31T12:00:00Z")] = "",
    end: Annotated[bool, typer.Option("--end", help="it is over: triggers act again")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Plan work on a recording server: no trigger of its acts meanwhile. It ends by itself."""
    if sum((bool(lasting), bool(until), end)) != 1:
        raise InvalidInput("give one of --for, --until and --end")
    path = f"/servers/{server}/maintenance"
    if end:
        show(call(url, lambda api: api.delete(path)), f"{server} is not in maintenance", as_json=as_json)
        return
    body = {"for_s": seconds_of(lasting)} if lasting else {"until": until}
    planned = call(url, lambda api: api.put(path, body))
    words = f"{server} is in planned maintenance until {time_words(planned['maintenance_until'])}"
    show(planned, words, as_json=as_json)


@servers.command("join-token")
def join_token(server: ServerArgument, url: Url = "", as_json: AsJson = False) -> None:
    """A new token for the server's machine."""
    made = call(url, lambda api: api.post(f"/servers/{server}/join-token"))
    show(made, str(made["join_token"]), as_json=as_json)


@cameras.callback(invoke_without_command=True)
def list_cameras(
    context: typer.Context,
    server: Annotated[str, typer.Option("--server", metavar="SERVER", help="only this one's")] = "",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """All cameras, or what a sub-command does with one."""
    if context.invoked_subcommand is not None:
        return

    async def work(api: Api) -> list[tuple[str, Any]]:
        ids = [server] if server else [s["id"] for s in await api.items("/servers", role="recording")]
        return [(each, camera) for each in ids for camera in await cameras_of(api, each)]

    found = call(url, work)
    rows = (
        (
            camera["id"],
            camera["name"],
            owner,
            camera["source"]["url"],
            camera["state"],
            *health_words(camera.get("health")),
            camera["reason"],
        )
        for owner, camera in found
    )
    show(
        [{**camera, "server": owner} for owner, camera in found],
        plain_table(CAMERA_HEADINGS, rows),
        as_json=as_json,
    )


@cameras.command("add")
def add_camera(
    server: ServerArgument,
    name: str,
    source: Annotated[str, typer.Argument(metavar="RTSP-URL")],
    username: Annotated[str, typer.Option(help="the camera's login; its password is asked for")] = "",
    password_file: Annotated[Path | None, typer.Option("--password-file", metavar="FILE")] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Add a camera to a recording server."""
    password = password_from(password_file, f"password of {username} at the camera: ") if username else ""
    body = {"name": name, "source": {"url": source, "username": username, "password": password}}
    added = call(url, lambda api: api.post(f"/servers/{server}/cameras", body))
    show(added, f"{added['id']} added to {server}", as_json=as_json)


@cameras.command("remove")
def remove_camera(camera: Annotated[str, typer.Argument(metavar="CAMERA")], url: Url = "") -> None:
    """Remove a camera; its footage stays."""
    call(url, lambda api: api.delete(f"/cameras/{camera}"))
    say(f"{camera} removed")


async def cameras_of(api: Api, server: str) -> list[Any]:
    """The cameras of a server, whether the API gives them in pages or at once."""
    answer = await api.get(f"/servers/{server}/cameras")
    return list(answer["items"]) if isinstance(answer, dict) else list(answer)


def pairing_of(text: str) -> list[str] | str:
    """`all`, or the ids between the commas."""
    return "all" if text.strip() == "all" else [each.strip() for each in text.split(",") if each.strip()]


def password_from(file: Path | None, prompt: str) -> str:
    """From a file, else asked for on the terminal, else the first line of standard input: never an argument,
    for everybody on a machine can read those.

    Raises:
        InvalidInput: there is none.
    """
    if file is not None:
        try:
            password = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read the password from {file}: {error}") from None
    elif sys.stdin.isatty():
        password = getpass.getpass(prompt)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise InvalidInput("no password given: type it, give --password-file, or send it by standard input")
    return password
