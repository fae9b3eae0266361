"""Keeps libraries from talking into what people read."""

from __future__ import annotations

import logging
import sys

import structlog


def keep_libraries_quiet(log_level: str) -> None:
    """What libraries would log is, where it matters, said in our own line; `debug` shows all of it."""
    level = logging.DEBUG if log_level.lower() == "debug" else logging.CRITICAL
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=level, stream=sys.stderr)
