"""The commands: each reads its options and hands over.

What only `up` and `demo` need is imported when they run: a client of the API must answer at once.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from understudy_contracts.errors import ConfigurationError, InvalidInput

from understudy_cli.addresses import DEFAULT_PORT, ListenAddress
from understudy_cli.client.administration import events, licenses, login, logout, users
from understudy_cli.client.administration import settings as failover_settings
from understudy_cli.client.failovers import failover
from understudy_cli.client.servers import cameras, servers, status
from understudy_cli.running import run_until_ended
from understudy_cli.settings import command_settings, default_data_dir

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
    from understudy_cli.control_plane import ControlPlanePlan
    from understudy_cli.quiet import keep_libraries_quiet
    from understudy_cli.up import up

    settings = command_settings()
    keep_libraries_quiet(settings.log_level)
    plan = ControlPlanePlan(
        data_dir=(data_dir or Path(settings.data_dir or default_data_dir())).absolute(),
        listen=ListenAddress.parse(listen or settings.listen or f"127.0.0.1:{DEFAULT_PORT}"),
        nats_url=settings.nats_url,
        mongo_url=settings.mongo_url,
    )
    run_until_ended(up(plan, Console()))


class Scenario(StrEnum):
    OUTAGE = "outage"


@app.command("demo")
def demo_command(
    servers: Annotated[int, typer.Option(min=1, max=20, help="recording servers")] = 3,
    spares: Annotated[int, typer.Option(min=0, max=20, help="failover servers")] = 2,
    cameras: Annotated[int, typer.Option(min=1, max=100, help="simulated cameras per server")] = 4,
    threshold: Annotated[
        float, typer.Option(min=1, max=3600, help="seconds of silence until a server counts as lost")
    ] = 2.0,
    scenario: Annotated[
        Scenario | None, typer.Option(help="outage: a recording server is killed, and comes back")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="new or empty; kept afterwards")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="the figures as JSON")
    ] = None,
    exit_after: Annotated[bool, typer.Option("--exit", help="end after the scenario")] = False,
    kill_orchestrator: Annotated[
        bool, typer.Option("--kill-orchestrator", help="kill the orchestrator in the middle of it, too")
    ] = False,
    listen: Listen = "",
) -> None:
    """Show the main job on this machine: real processes, real streams, real files."""
    from understudy_cli.demo.progress import Narrator
    from understudy_cli.demo.run import DemoPlan, demo
    from understudy_cli.quiet import keep_libraries_quiet

    settings = command_settings()
    keep_libraries_quiet(settings.log_level)
    wanted = listen or settings.listen
    plan = DemoPlan(
        servers=servers,
        spares=spares,
        cameras=cameras,
        threshold_s=threshold,
        outage=scenario is Scenario.OUTAGE,
        kill_orchestrator=kill_orchestrator,
        exit=exit_after,
        data_dir=data_dir.absolute() if data_dir else None,
        report=report.absolute() if report else None,
        # Only a port that somebody asked for must be free.
        listen=ListenAddress.parse(wanted)
        if wanted
        else ListenAddress("127.0.0.1", DEFAULT_PORT).claimed_or_any(),
        nats_url=settings.nats_url,
        mongo_url=settings.mongo_url,
    )
    run_until_ended(demo(plan, Narrator(Console())))


@app.command("recording-server")
def recording_server_command(
    data_dir: Annotated[Path, typer.Option("--data-dir", metavar="DIR")],
    join: Annotated[str, typer.Option("--join", metavar="URL", help="the API of the host")] = "",
    token: Annotated[
        str, typer.Option("--token", metavar="T", help="from adding the server; or UNDERSTUDY_JOIN_TOKEN")
    ] = "",
) -> None:
    """Run one recording or failover server: agent and recorder."""
    settings = command_settings()
    if importlib.util.find_spec("understudy_recording_server") is None:
        raise ConfigurationError("understudy-recording-server is not installed here: run 'uv sync'")
    # The token goes by the environment: arguments of a process can be seen by everybody on the machine.
    environment = {**os.environ}
    if token or settings.join_token:
        environment["UNDERSTUDY_JOIN_TOKEN"] = token or settings.join_token
    arguments = ["-m", "understudy_recording_server", "--data-dir", str(data_dir)]
    if join:
        arguments += ["--join", join]
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - no shell


@app.command("doctor")
def doctor_command(
    capacity: Annotated[
        bool, typer.Option("--capacity", help="measure how many cameras this machine can record")
    ] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="of a recording server: its disk is measured, and it states the figure when it starts again",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="for each number of cameras")] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Examine this machine: how many cameras it can record."""
    import json
    from dataclasses import asdict

    from understudy_cli.capacity import measure_capacity

    if not capacity:
        raise InvalidInput("nothing to examine: give --capacity")
    told = Console(stderr=True, quiet=as_json)
    found = run_until_ended(measure_capacity(data_dir, seconds, told.print))
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        typer.echo(f"{found.cameras} cameras of 720p at 2 Mbit/s; the {found.limited_by} is the limit")


app.command("login")(login)
app.command("logout")(logout)
app.command("status")(status)
app.command("events")(events)
app.add_typer(servers, name="servers")
app.add_typer(cameras, name="cameras")
app.add_typer(failover, name="failover")
app.add_typer(failover_settings, name="settings")
app.add_typer(licenses, name="licenses")
app.add_typer(users, name="users")
