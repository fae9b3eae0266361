"""What the demo says while it works: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from understudy_cli.demo.promises import Promise


class Narrator:
    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, line: str) -> None:
        # Names and paths are shown as they are: rich must not take brackets in them for markup.
        self.console.print(Text(line), soft_wrap=True)

    def note(self, line: str) -> None:
        """Something that happens in between, below the steps with their times."""
        self.say(f"{'':10}{line}")

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Something that takes a while; its time is told when it has succeeded."""
        begun = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(Text(what)):
                yield
        else:
            yield
        self.say(f"{time.monotonic() - begun:6.1f} s  {what}")

    def promise(self, promise: Promise) -> None:
        sign, style = ("✓", "green") if promise.held else ("✗", "bold red")
        self.console.print(
            Text(f"{sign} ", style) + Text(f"{promise.name}: {promise.figure}"), soft_wrap=True
        )
