"""A process's life: it starts or says in one line why not, runs until told to stop, and ends in order."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from understudy_contracts.errors import ConfigurationError, UnderstudyError

from understudy_runtime.configuration import S, load_settings
from understudy_runtime.telemetry import set_up_telemetry

EXIT_CONFIGURATION = 2
EXIT_FAILURE = 1

# A recording server finishes its files, which takes time; control services pass less.
END_WITHIN_S = 30.0

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it dies, however it dies."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def run_service(
    name: str,
    settings_type: type[S],
    main: Callable[[S, asyncio.Event], Awaitable[None]],
    *,
    end_within_s: float = END_WITHIN_S,
) -> int:
    """Run `main(settings, stopping)` until it returns; SIGTERM and SIGINT set `stopping`, and `end_within_s`
    seconds later it is cancelled.

    Returns the exit status: 0, or 2 with one line on standard error when it cannot run as configured,
    or 1 when it failed later.
    """
    try:
        settings = load_settings(settings_type)
        set_up_telemetry(name, settings)
    except UnderstudyError as error:
        print(f"understudy {name}: {error.message}", file=sys.stderr)
        return EXIT_CONFIGURATION
    if os.environ.get("UNDERSTUDY_SUPERVISED"):
        end_with_parent()
    return asyncio.run(_run(name, settings, main, end_within_s))


async def _run(
    name: str, settings: S, main: Callable[[S, asyncio.Event], Awaitable[None]], end_within_s: float
) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    log = structlog.get_logger()
    try:
        await _until_stopped(main(settings, stopping), stopping, end_within_s)
    except Exception as error:
        known = _known_error(error)
        if known is None:
            log.exception("the process failed")
            return EXIT_FAILURE
        print(f"understudy {name}: {known.message}", file=sys.stderr)
        return EXIT_CONFIGURATION if isinstance(known, ConfigurationError) else EXIT_FAILURE
    finally:
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            await asyncio.to_thread(provider.shutdown)
    return 0


async def _until_stopped(work: Awaitable[None], stopping: asyncio.Event, end_within_s: float) -> None:
    """Run `work` to its end. Told to stop, it has `end_within_s` to end by itself: work that still waits for
    a database or a bus that is not there does not look whether it should stop."""
    running = asyncio.ensure_future(work)
    told = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({running}, timeout=end_within_s if not running.done() else None)
        if not running.done():
            structlog.get_logger().warning("ended before all was in order", after_s=end_within_s)
            running.cancel()
            await asyncio.wait({running})
    finally:
        told.cancel()
        running.cancel()
    if not running.cancelled():
        running.result()


def _known_error(error: BaseException) -> UnderstudyError | None:
    """Our own error inside of a group that a task group raised, if that is all there is."""
    if isinstance(error, UnderstudyError):
        return error
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return _known_error(error.exceptions[0])
    return None
