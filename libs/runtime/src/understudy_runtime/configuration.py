"""A process's settings: environment `UNDERSTUDY_*` over a TOML file; a wrong or unknown key stops it.

`UNDERSTUDY_CONFIG` names the file. A secret may be in a file of its own: `UNDERSTUDY_X_FILE` for `X`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from understudy_contracts.errors import ConfigurationError

PREFIX: Final = "UNDERSTUDY_"

# Keys that some process reads or sets; each process reads its own struct's and passes the others by, so that
# one environment serves a whole host. A key in neither is a typing error and stops the process.
KNOWN_KEYS: Final = frozenset(
    {
        "config",
        "nats_url",
        "nats_credentials",
        "mongo_url",
        "database",
        "subject_prefix",
        "log_level",
        "log_format",
        "otlp_endpoint",
        "trace_file",
        "signing_key",
        "trust",
        "authority",
        "data_dir",
        "listen",
        "public_nats_urls",
        "allow_insecure_bind",
        "administrator_password",
        "require_tools",
        "session_hours",
        "service_absence_s",
        "advertise",
        "join",
        "join_token",
        "maximum_cameras",
        "url",
        "token",
        "service",
        "supervised",
    }
)

S = TypeVar("S", bound="ProcessSettings")


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every process of ours understands."""

    log_level: str = "info"
    log_format: str = "json"
    otlp_endpoint: str = ""
    trace_file: str = ""


class BusSettings(ProcessSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A process on the bus. `nats_credentials` is the path of a .creds file."""

    nats_url: str = "nats://127.0.0.1:4222"
    nats_credentials: str = ""
    subject_prefix: str = "understudy"


class ControlSettings(BusSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A control service: bus and database. `signing_key` is the path of its private signing key."""

    mongo_url: str = "mongodb://127.0.0.1:27017/?replicaSet=rs0"
    database: str = "understudy"
    signing_key: str = ""


def load_settings(kind: type[S], environment: Mapping[str, str] | None = None) -> S:
    """The settings of this process.

    Raises:
        ConfigurationError: an unknown key, a value of the wrong type, or a file that cannot be read; the
            message is one line that names it.
    """
    environment = os.environ if environment is None else environment
    values = _from_file(environment.get(PREFIX + "CONFIG", ""))
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        key = variable[len(PREFIX) :].lower()
        if key not in fields and key.endswith("_file") and key[:-5] in fields:
            key, text = key[:-5], _secret(variable, text)  # noqa: PLW2901
        if key in fields:
            values[key] = text
        elif key.removesuffix("_file") not in KNOWN_KEYS:
            raise ConfigurationError(f"unknown setting {variable}{_suggestion(key, fields)}")
    unknown = [key for key in values if key not in fields and key not in KNOWN_KEYS]
    if unknown:
        raise ConfigurationError(f"unknown setting {unknown[0]!r} in the configuration file")
    wanted = {key: value for key, value in values.items() if key in fields}
    try:
        return msgspec.convert(wanted, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"setting out of range or of the wrong type: {error}") from None


def _from_file(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the configuration file {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the configuration file {path} is not valid TOML: {error}") from None


def _secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{variable}: cannot read {path}: {error}") from None


def _suggestion(key: str, fields: Mapping[str, object]) -> str:
    import difflib

    close = difflib.get_close_matches(key, list(fields), n=1)
    return f" (did you mean {PREFIX}{close[0].upper()}?)" if close else ""
