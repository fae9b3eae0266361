"""`understudy up`: the control plane on this machine, until somebody ends it."""

from __future__ import annotations

import asyncio

from rich.console import Console

from understudy_cli.control_plane import ControlPlanePlan, running_control_plane
from understudy_cli.settings import ADMINISTRATOR


async def up(plan: ControlPlanePlan, console: Console) -> None:
    """Start, say where and how to log in, and go on until cancelled."""

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    async with running_control_plane(plan, say) as running:
        say(f"console   {running.url}/")
        say(f"login     {ADMINISTRATOR}, password in {running.password_file}")
        say(f"logs      {plan.data_dir / 'logs'}")
        say("ready; Ctrl-C ends it")
        await asyncio.Event().wait()
