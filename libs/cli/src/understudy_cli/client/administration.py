"""`understudy login`, `logout`, `settings`, `licenses`, `events`, `users`."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from understudy_contracts.errors import InvalidInput, Unavailable
from understudy_contracts.model import UserRole

from understudy_cli.api import STREAM_OPEN, Api
from understudy_cli.client.calls import AsJson, Url, Yes, call, confirmed, say, show, show_json
from understudy_cli.client.servers import password_from
from understudy_cli.session import Session, forget_session, load_session, save_session
from understudy_cli.settings import ADMINISTRATOR
from understudy_cli.tables import plain_table, time_words

settings = typer.Typer(help="When and how servers fail over.", no_args_is_help=False)
licenses = typer.Typer(help="Device license keys.", no_args_is_help=False)
users = typer.Typer(help="Who may do what.", no_args_is_help=False)

PasswordFile = Annotated[Path | None, typer.Option("--password-file", metavar="FILE")]
_AGAIN_S = 1.0


def login(
    username: Annotated[str, typer.Option("--username", help="who you are")] = ADMINISTRATOR,
    password_file: PasswordFile = None,
    url: Url = "",
) -> None:
    """Log in, and stay so until the session ends."""
    password = password_from(password_file, f"password of {username}: ")

    async def work(api: Api) -> str:
        api.token = ""
        session = await api.login(username, password)
        save_session(Session(api.url, username, session["token"]))
        return f"logged in at {api.url} as {username}, {session['user']['role']}"

    say(call(url, work))


def logout(url: Url = "") -> None:
    """End the session."""
    session = load_session()
    if session is None:
        say("not logged in")
        return
    try:
        call(url or session.url, lambda api: api.delete("/session"))
    finally:
        forget_session()
    say("logged out")


@settings.callback(invoke_without_command=True)
def show_settings(
    context: typer.Context,
    server: Annotated[str, typer.Option("--server", metavar="SERVER", help="only this one's")] = "",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """The failover settings: of all servers without their own, or of one."""
    if context.invoked_subcommand is None:
        answer = call(url, lambda api: api.get(_settings_path(server)))
        rows = flat(answer.get("settings", answer))
        show(answer, plain_table(["SETTING", "VALUE"], rows), as_json=as_json)


@settings.command("set")
def set_settings(
    changes: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE...", help="like disconnection.after_s=2")
    ],
    server: Annotated[str, typer.Option("--server", metavar="SERVER", help="only for this one")] = "",
    yes: Yes = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Change failover settings; the others stay as they are."""
    path = _settings_path(server)

    async def work(api: Api) -> Any:
        answer = await api.get(path)
        wanted = changed(answer.get("settings", answer), changes)
        return await confirmed(lambda confirmation: api.put(path, wanted, confirmation=confirmation), yes=yes)

    show(call(url, work), "changed", as_json=as_json)


@settings.command("reset")
def reset_settings(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="its id")],
    yes: Yes = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Forget a server's own failover settings: the defaults hold for it."""

    async def work(api: Api) -> Any:
        return await confirmed(
            lambda confirmation: api.delete(_settings_path(server), confirmation=confirmation), yes=yes
        )

    show(call(url, work), f"the defaults hold for {server}", as_json=as_json)


@settings.command("document")
def show_document(server: Annotated[str, typer.Argument(metavar="SERVER")], url: Url = "") -> None:
    """Everything that is replicated for a server, as JSON; passwords are not shown."""
    show_json(call(url, lambda api: api.get(f"/servers/{server}/settings")))


@licenses.callback(invoke_without_command=True)
def list_licenses(context: typer.Context, url: Url = "", as_json: AsJson = False) -> None:
    """All keys and who holds them."""
    if context.invoked_subcommand is None:
        answer = call(url, lambda api: api.get("/licenses"))
        rows = (
            (key["key"], key.get("holder") or "free", time_words(key["since"]), key.get("failover") or "")
            for key in answer["keys"]
        )
        show(answer, plain_table(["KEY", "HOLDER", "SINCE", "FAILOVER"], rows), as_json=as_json)


@licenses.command("import")
def import_licenses(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="who holds them")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a key a line; - for standard input")],
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Bring in new keys."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read license keys from {file}: {error}") from None
    keys = [line.strip() for line in text.splitlines() if line.strip()]
    if not keys:
        raise InvalidInput(f"there is no license key in {file}: expected one a line")
    answer = call(url, lambda api: api.post("/licenses", {"keys": keys, "server": server}))
    show(answer, f"{len(keys)} keys for {server}", as_json=as_json)


@users.callback(invoke_without_command=True)
def list_users(context: typer.Context, url: Url = "", as_json: AsJson = False) -> None:
    """All users."""
    if context.invoked_subcommand is None:
        found = call(url, lambda api: api.items("/users"))
        rows = ((user["username"], user["role"]) for user in found)
        show(found, plain_table(["USER", "ROLE"], rows), as_json=as_json)


@users.command("add")
def add_user(
    username: str,
    role: Annotated[UserRole, typer.Option(help="what they may do")] = UserRole.VIEWER,
    password_file: PasswordFile = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Add a user."""
    password = password_from(password_file, f"password for {username}: ")
    body = {"username": username, "password": password, "role": str(role)}
    show(call(url, lambda api: api.post("/users", body)), f"{username} added", as_json=as_json)


@users.command("remove")
def remove_user(username: str, url: Url = "") -> None:
    """Remove a user, and end their sessions."""
    call(url, lambda api: api.delete(f"/users/{username}"))
    say(f"{username} removed")


def events(
    kinds: Annotated[str, typer.Option(metavar="KINDS", help="like server,failover; else all")] = "",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Follow what happens, until Ctrl-C; with --json a line for each event."""

    async def work(api: Api) -> None:
        after = ""
        while True:
            with contextlib.suppress(Unavailable):
                async for event in api.events(kinds=kinds, after=after):
                    after = event.id or after
                    if event.event == STREAM_OPEN:
                        continue
                    if as_json:
                        sys.stdout.write(event.data + "\n")
                        sys.stdout.flush()
                    else:
                        body = msgspec.json.decode(event.data)
                        say(f"{time_words(body.get('at'))}  {event.event:28}  {body.get('subject', '')}")
            await api.get("/servers", limit=1)  # says in one line what is wrong, if it stays wrong
            await asyncio.sleep(_AGAIN_S)

    call(url, work)


def _settings_path(server: str) -> str:
    return f"/servers/{server}/failover-settings" if server else "/failover-settings"


def flat(document: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested document as keys with dots, each with its value as JSON."""
    rows: list[tuple[str, str]] = []
    for name, value in document.items():
        if isinstance(value, dict):
            rows.extend(flat(value, f"{prefix}{name}."))
        else:
            rows.append((f"{prefix}{name}", msgspec.json.encode(value).decode()))
    return rows


def changed(document: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """The document with `a.b=value` put in; a value is JSON, or else a text.

    Raises:
        InvalidInput: not of that form, or there is no such setting.
    """
    result = copy.deepcopy(document)
    known = dict(flat(document))
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or key not in known:
            raise InvalidInput(
                f"{change[:80]!r} changes nothing: write KEY=VALUE, with KEY one of {', '.join(known)}"
            )
        inner = result
        *parents, last = key.split(".")
        for parent in parents:
            inner = inner[parent]
        try:
            inner[last] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            inner[last] = text
    return result
