"""What all client commands have in common: where the API is, how answers are shown, asking before harm."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from understudy_cli.api import CONFIRMATION_REQUIRED, Api, ApiProblem
from understudy_cli.running import run_until_ended
from understudy_cli.session import where_and_who
from understudy_cli.settings import command_settings

T = TypeVar("T")

Url = Annotated[
    str, typer.Option("--url", metavar="URL", help="the API; else UNDERSTUDY_URL, else the last login's")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs")]
Yes = Annotated[bool, typer.Option("--yes", help="do it without asking, whatever it destroys")]

console = Console()


def call(url: str, work: Callable[[Api], Awaitable[T]]) -> T:
    """Run `work` with a client that is logged in as the environment or the last login says."""

    async def run() -> T:
        address, token = where_and_who(url, command_settings())
        async with Api(address, token) as api:
            return await work(api)

    return run_until_ended(run())


def show(answer: object, table: Table | str, *, as_json: bool) -> None:
    """The answer as it is for programs, the table for people."""
    if as_json:
        show_json(answer)
    elif isinstance(table, str):
        say(table)
    else:
        console.print(table)


def show_json(answer: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    console.print(Text(line), soft_wrap=True)


async def confirmed(attempt: Callable[[str | None], Awaitable[Any]], *, yes: bool) -> Any:
    """Do what may be guarded (M1, M16): what it destroys is shown, and done only if a person agrees.

    `attempt` is called with the confirmation to send back, at first None.
    Raises typer.Abort if the person does not agree.
    """
    try:
        return await attempt(None)
    except ApiProblem as problem:
        if problem.kind != CONFIRMATION_REQUIRED or "confirmation" not in problem.details:
            raise
        if not yes:
            if not sys.stdin.isatty():
                raise
            typer.confirm(
                f"{problem.details.get('destroys') or problem.message} Go ahead?", abort=True, err=True
            )
        return await attempt(str(problem.details["confirmation"]))
