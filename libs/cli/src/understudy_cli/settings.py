"""What the command takes from its environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from understudy_runtime.configuration import ProcessSettings, load_settings

ADMINISTRATOR: Final = "admin"
"""The user that the api-gateway makes at its first start."""


class CommandSettings(ProcessSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`UNDERSTUDY_*` as the command understands it; the options of a command win over these."""

    nats_url: str = ""
    mongo_url: str = ""
    data_dir: str = ""
    listen: str = ""
    url: str = ""
    token: str = ""
    join_token: str = ""


def command_settings() -> CommandSettings:
    """
    Raises:
        ConfigurationError: an unknown or wrong key; one line that names it.
    """
    return load_settings(CommandSettings)


def default_data_dir() -> Path:
    """Where `up` keeps its data (XDG base directory specification)."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base else Path.home() / ".local" / "share") / "understudy"
