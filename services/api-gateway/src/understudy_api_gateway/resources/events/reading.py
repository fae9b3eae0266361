"""Reading the stream of events from a position on, one at a time.

Each reader has a consumer of its own on the stream and asks it for the next event only when the last one
is sent: a slow reader holds up nobody, and nothing piles up here.
"""

from __future__ import annotations

import nats.errors
import nats.js.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from understudy_bus.connection import Bus
from understudy_contracts.errors import Unavailable

ABANDONED_AFTER_S = 30.0

log = structlog.get_logger()


class EventReader:
    """Yields (position, body) in order without holes, also across restarts of the bus."""

    def __init__(self, bus: Bus, position: int) -> None:
        self._bus = bus
        self._position = position
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def next(self, within_s: float) -> tuple[int, bytes] | None:
        """The next event, or None when there is none within `within_s`.

        Raises:
            Unavailable: the bus does not answer; ask again.
        """
        try:
            if self._subscription is None:
                self._subscription = await self._open()
            messages = await self._subscription.fetch(1, timeout=within_s)
        except (nats.errors.TimeoutError, TimeoutError):
            return None
        except (nats.errors.Error, nats.js.errors.Error) as error:
            await self.close()
            raise Unavailable(f"the bus does not answer: {error}") from None
        position = messages[0].metadata.sequence.stream
        if position < self._position:
            return None
        self._position = position + 1
        return position, messages[0].data

    async def close(self) -> None:
        """Leave; the stream forgets the consumer by itself."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None and self._bus.connected:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as error:
                log.debug("the bus was gone before its reader had left", error=str(error))

    async def _open(self) -> JetStreamContext.PullSubscription:
        return await self._bus.jetstream.pull_subscribe(
            self._bus.subjects.all_events,
            stream=self._bus.subjects.events_stream,
            config=ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=max(1, self._position),
                inactive_threshold=ABANDONED_AFTER_S,
                mem_storage=True,
            ),
        )


async def bounds_of_stream(bus: Bus) -> tuple[int, int]:
    """The first and the last position that the stream holds; (last + 1, last) when it holds none.

    Raises:
        Unavailable: the bus does not answer.
    """
    try:
        state = (await bus.jetstream.stream_info(bus.subjects.events_stream)).state
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
        raise Unavailable(f"the bus does not answer: {str(error) or 'timeout'}") from None
    if state.messages == 0:
        return state.last_seq + 1, state.last_seq
    return state.first_seq, state.last_seq
