"""The commands: each reads its options and hands over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from understudy_cli.addresses import DEFAULT_PORT, ListenAddress
from understudy_cli.control_plane import ControlPlanePlan
from understudy_cli.running import run_until_ended
from understudy_cli.settings import command_settings, default_data_dir
from understudy_cli.up import up

app = typer.Typer(
    name="understudy",
    help="Failover for video surveillance.",
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=False,
)

Listen = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="where the API and console listen")
]


@app.callback(invoke_without_command=True)
def understudy(context: typer.Context) -> None:
    """Failover for video surveillance: a spare takes over, and every recording comes home."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("up")
def up_command(
    data_dir: Annotated[Path | None, typer.Option("--data-dir", metavar="DIR")] = None,
    listen: Listen = "",
) -> None:
    """Run the control plane on this machine: embedded NATS and MongoDB, six services."""
    settings = command_settings()
    plan = ControlPlanePlan(
        data_dir=(data_dir or Path(settings.data_dir or default_data_dir())).absolute(),
        listen=ListenAddress.parse(listen or settings.listen or f"127.0.0.1:{DEFAULT_PORT}"),
        nats_url=settings.nats_url,
        mongo_url=settings.mongo_url,
    )
    run_until_ended(up(plan, Console()))
