"""NATS and MongoDB without installation: real servers from PyPI wheels, ended with their user's process."""

from understudy_lab.embedded.errors import (
    EmbeddedServerError,
    FolderInUse,
    FolderNotWritable,
    PortInUse,
    ServerDidNotStart,
    ServerMissing,
)
from understudy_lab.embedded.mongo import EmbeddedMongo
from understudy_lab.embedded.nats import EmbeddedNats

__all__ = [
    "EmbeddedMongo",
    "EmbeddedNats",
    "EmbeddedServerError",
    "FolderInUse",
    "FolderNotWritable",
    "PortInUse",
    "ServerDidNotStart",
    "ServerMissing",
]
