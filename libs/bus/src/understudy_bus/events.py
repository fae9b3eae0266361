"""Durable events on JetStream: the stream, publishing from an outbox, following."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StorageType, StreamConfig
from opentelemetry import context as otel_context
from understudy_contracts.errors import Unavailable, UnderstudyError
from understudy_contracts.events import Event
from understudy_runtime.retry import pauses
from understudy_runtime.telemetry import context_from
from understudy_runtime.waiting import go_on

from understudy_bus.connection import Bus

KEEP_DAYS: Final = 30
MAX_DELIVERIES: Final = 10

log = structlog.get_logger()


async def ensure_stream(bus: Bus) -> None:
    """Create the stream EVENTS if it is not there; wait for the bus as long as it takes."""
    config = StreamConfig(
        name=bus.subjects.events_stream,
        subjects=[bus.subjects.all_events],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_age=KEEP_DAYS * 86400,
        duplicate_window=120,
        allow_direct=True,
    )
    for pause in pauses():
        try:
            await bus.jetstream.add_stream(config)
        except nats.js.errors.BadRequestError as error:
            if error.err_code == 10058:  # it is there already, made by another version with other limits
                return
            raise
        except (nats.errors.Error, TimeoutError) as error:
            log.info("waiting for JetStream", error=str(error) or type(error).__name__)
            await asyncio.sleep(pause)
        else:
            return


async def publish_event(bus: Bus, event: Event, traceparent: str = "") -> None:
    """Publish one event, acknowledged by the stream; a second time with the same id changes nothing.

    Raises:
        Unavailable: not acknowledged; publish it again.
    """
    headers = {"Nats-Msg-Id": event.id}
    if traceparent:
        headers["traceparent"] = traceparent
    subject = bus.subjects.event(event.kind, event.subject, event.event)
    try:
        await bus.jetstream.publish(subject, msgspec.json.encode(event), headers=headers)
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"event not acknowledged: {error}") from None


async def follow_events(
    bus: Bus,
    pattern: str,
    heard: Callable[[Event], Awaitable[None]],
    *,
    durable: str,
) -> None:
    """Call `heard` for each event whose subject after `evt.` matches `pattern` (`failover.>`), in order,
    each at least once; runs until cancelled.

    `durable` is remembered by the stream across restarts. An event whose handling fails ten times goes to
    `<prefix>.dead-letter.<durable>` and is passed by.
    """
    subject = f"{bus.subjects.prefix}.evt.{pattern}"
    for pause in pauses(most=2.0):
        if not go_on():
            return
        try:
            subscription = await bus.jetstream.pull_subscribe(
                subject,
                durable=durable,
                stream=bus.subjects.events_stream,
                config=ConsumerConfig(
                    ack_policy=AckPolicy.EXPLICIT,
                    deliver_policy=DeliverPolicy.NEW,
                    max_deliver=MAX_DELIVERIES,
                    ack_wait=10,
                    max_ack_pending=1,
                ),
            )
            try:
                while go_on():
                    try:
                        messages = await subscription.fetch(1, timeout=20, heartbeat=5)
                    except (nats.errors.TimeoutError, TimeoutError):
                        continue
                    await _handle(bus, messages[0], heard, durable)
            finally:
                # Else the stream would hand the next event to the request that we no longer wait for.
                if bus.connected:
                    await subscription.unsubscribe()
        except (nats.errors.Error, nats.js.errors.Error) as error:
            log.info("following again", durable=durable, error=str(error) or type(error).__name__)
            await asyncio.sleep(pause)


async def _handle(bus: Bus, message: Msg, heard: Callable[[Event], Awaitable[None]], durable: str) -> None:
    token = otel_context.attach(context_from(message.headers))
    try:
        try:
            event = msgspec.json.decode(message.data, type=Event)
        except msgspec.DecodeError as error:
            await _bury(bus, message, durable, str(error))
            return
        try:
            await heard(event)
        except UnderstudyError as error:
            if message.metadata.num_delivered >= MAX_DELIVERIES:
                await _bury(bus, message, durable, error.message)
            else:
                log.warning("event not handled", subject=message.subject, error=error.message)
                await message.nak(delay=min(0.1 * 2**message.metadata.num_delivered, 10))
            return
        await message.ack()
    finally:
        otel_context.detach(token)


async def _bury(bus: Bus, message: Msg, durable: str, why: str) -> None:
    log.error("event given up", subject=message.subject, error=why)
    await bus.client.publish(
        f"{bus.subjects.prefix}.dead-letter.{durable}.event", message.data, headers={"Error": why[:200]}
    )
    await message.term()
