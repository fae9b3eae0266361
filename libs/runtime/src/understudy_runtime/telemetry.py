"""Logs, traces: set up once per process.

Logs are one JSON object a line and carry what was bound with `structlog.contextvars` (failover, server,
camera). Spans go to an OTLP endpoint, and for tests and small sites to a file of JSON lines.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from understudy_contracts.errors import ConfigurationError

from understudy_runtime.configuration import ProcessSettings

_propagator = TraceContextTextMapPropagator()


class _FileExporter(SpanExporter):
    """Appends each span as a line of JSON."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._lock:
            for span in spans:
                self._file.write(json.dumps(json.loads(span.to_json(indent=None))) + "\n")
            self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._file.close()


def set_up_telemetry(service: str, settings: ProcessSettings) -> None:
    """Set up logging and tracing of this process, named `service`.

    Raises:
        ConfigurationError: the log level is unknown, or the trace file cannot be written.
    """
    _set_up_logging(service, settings)
    provider = TracerProvider(resource=Resource.create({"service.name": f"understudy-{service}"}))
    if settings.otlp_endpoint:
        # Imported by who uses it only: it is a tenth of what each process takes to start.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    if settings.trace_file:
        try:
            provider.add_span_processor(SimpleSpanProcessor(_FileExporter(Path(settings.trace_file))))
        except OSError as error:
            raise ConfigurationError(f"cannot write the trace file {settings.trace_file}: {error}") from None
    trace.set_tracer_provider(provider)


def _set_up_logging(service: str, settings: ProcessSettings) -> None:
    levels = logging.getLevelNamesMapping()
    if settings.log_level.upper() not in levels:
        raise ConfigurationError(
            f"unknown log level {settings.log_level!r}: use debug, info, warning or error"
        )
    level = levels[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if settings.log_format == "text"
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    # Libraries log through the standard library; the same lines, their warnings and worse only.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def current_traceparent() -> str:
    """The W3C `traceparent` of the span we are in; empty outside of any."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")


def context_from(headers: Mapping[str, str] | None) -> Context:
    """The trace context that came with a message."""
    return _propagator.extract(dict(headers or {}))


@contextmanager
def span(name: str, *, traceparent: str = "", **attributes: str | int | float | bool) -> Iterator[Span]:
    """A span, within the current one or, with `traceparent`, within one that began elsewhere or earlier:
    a failover keeps its own, so that a restarted orchestrator goes on in the same trace."""
    parent = context_from({"traceparent": traceparent}) if traceparent else None
    tracer = trace.get_tracer("understudy")
    with tracer.start_as_current_span(name, context=parent, attributes=attributes) as current:
        yield current
