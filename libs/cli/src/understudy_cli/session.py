"""The login of the person at this machine: `~/.config/understudy/session.json`, for its owner only."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec
from understudy_contracts.errors import ConfigurationError

from understudy_cli.api import DEFAULT_URL
from understudy_cli.settings import CommandSettings


class Session(msgspec.Struct, frozen=True):
    """A token of the API at `url`."""

    url: str
    username: str
    token: str


def session_file() -> Path:
    """XDG base directory specification."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "understudy" / "session.json"


def save_session(session: Session) -> None:
    """Keep the login; the file is never there with wider permissions or half written.

    Raises:
        ConfigurationError: it cannot be written.
    """
    file = session_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=".session-")
        with os.fdopen(descriptor, "wb") as writing:
            writing.write(msgspec.json.encode(session))
        Path(temporary).replace(file)
    except OSError as error:
        raise ConfigurationError(f"cannot keep the login in {file}: {error.strerror}") from None


def load_session() -> Session | None:
    """The last login; None if there is none, or it cannot be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(session_file().read_bytes(), type=Session)
    return None


def forget_session() -> None:
    session_file().unlink(missing_ok=True)


def where_and_who(url_option: str, settings: CommandSettings) -> tuple[str, str]:
    """The URL and the token to use: the option, else the environment, else the last login, else this machine.

    The token of a login goes to the place of that login only.
    """
    session = load_session()
    url = (url_option or settings.url or (session.url if session else DEFAULT_URL)).rstrip("/")
    if settings.token:
        return url, settings.token
    return url, session.token if session and session.url == url else ""
