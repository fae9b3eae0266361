"""Why an embedded server cannot run: each is one line that a person can act on."""

from __future__ import annotations

from understudy_contracts.errors import ConfigurationError


class EmbeddedServerError(ConfigurationError):
    """Base of the errors of this package."""


class ServerMissing(EmbeddedServerError):
    """The program is not installed on this machine."""


class PortInUse(EmbeddedServerError):
    """The port asked for belongs to somebody else."""


class FolderNotWritable(EmbeddedServerError):
    """The data folder cannot be made or written."""


class FolderInUse(EmbeddedServerError):
    """Another embedded server works on the same data folder."""


class ServerDidNotStart(EmbeddedServerError):
    """The program ended, or was not ready in time; the message carries the last line of its log."""
