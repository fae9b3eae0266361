"""One connection to NATS: ask services, command machines, say and hear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from understudy_contracts.commands import AgentCommand, Done, name_of
from understudy_contracts.errors import ConfigurationError, InvalidMessage, Problem, Unavailable, error_from
from understudy_contracts.subjects import MachineAddress, Subjects
from understudy_contracts.verbs import A, Q, Verb
from understudy_runtime.configuration import BusSettings
from understudy_runtime.retry import pauses
from understudy_runtime.telemetry import current_traceparent

from understudy_bus.client import TidyClient
from understudy_bus.permissions import inbox_of

ERROR_CODE_HEADER = "Nats-Service-Error-Code"
ERROR_HEADER = "Nats-Service-Error"

DEFAULT_TIMEOUT_S = 5.0
IMPATIENT_S = 10.0
ASK_AGAIN_S = 0.4

T = TypeVar("T")
log = structlog.get_logger()


class Bus:
    """A connection that comes back by itself.

    `interrupted_at` is the monotonic time at which it last came back after it was gone, or first was made:
    who judges others by their silence must not count from before it.
    """

    def __init__(self, client: Client, subjects: Subjects, *, absence_s: float = 0.0) -> None:
        """`absence_s`: so long a service that is asked may not be there."""
        self.client = client
        self.subjects = subjects
        self._absence_s = absence_s
        self.interrupted_at = time.monotonic()

    @property
    def connected(self) -> bool:
        return self.client.is_connected

    @property
    def jetstream(self) -> JetStreamContext:
        return self.client.jetstream(timeout=DEFAULT_TIMEOUT_S)

    async def ask(self, verb: Verb[Q, A], request: Q, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> A:
        """Ask a service; once more after a pause as long as nobody is there, for `absence_s`.

        Raises:
            Unavailable: no answer in time, or nobody there; whether it was done is unknown.
            UnderstudyError: the service refused; the same kind of error that it raised.
        """
        subject = self.subjects.verb(verb.service, verb.name)
        until_s = time.monotonic() + self._absence_s
        for pause_s in pauses(most=ASK_AGAIN_S):
            try:
                return await self._request(subject, request, verb.answer, timeout_s, f"the {verb.service}")
            except _NobodyThere:
                # Who was not there has not heard it: asking again does nothing twice.
                if time.monotonic() + pause_s > until_s:
                    raise
            await asyncio.sleep(pause_s)
        raise AssertionError("the pauses do not end")

    async def command(
        self, address: MachineAddress, command: AgentCommand, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> Done:
        """Have a machine's agent carry out a command.

        Raises:
            Unavailable: no answer in time; whether it was done is unknown.
            UnderstudyError: the agent refused, with the same kind of error that it raised.
        """
        subject = self.subjects.command(address, name_of(command))
        return await self._request(subject, command, Done, timeout_s, f"machine {address.machine}")

    async def say(self, subject: str, message: msgspec.Struct) -> None:
        """Publish without any guarantee (heartbeats, reports)."""
        await self.client.publish(subject, msgspec.json.encode(message), headers=_trace_headers() or None)

    async def hear(
        self, subject: str, kind: type[T], heard: Callable[[str, T], Awaitable[None]]
    ) -> Subscription:
        """Call `heard(subject, message)` for each message, one at a time. A message of another form than
        `kind` is logged and passed by: one broken sender must not deafen us."""
        decoder = msgspec.json.Decoder(kind)

        async def received(message: Msg) -> None:
            try:
                decoded = decoder.decode(message.data)
            except msgspec.DecodeError as error:
                log.warning("message passed by", subject=message.subject, error=str(error))
                return
            await heard(message.subject, decoded)

        return await self.client.subscribe(subject, cb=received, pending_bytes_limit=-1)

    async def settled(self) -> None:
        """Wait until the server knows all that we have said and subscribed to.

        The ping of nats-py's `flush` (2.16) overtakes what is still to be written. When it is answered, that
        has been written, so only the answer to a second one proves anything.
        """
        await self.client.flush()
        await self.client.flush()

    async def _request(
        self, subject: str, request: msgspec.Struct, answer: type[A], timeout_s: float, who: str
    ) -> A:
        body = msgspec.json.encode(request)
        try:
            reply = await self.client.request(subject, body, timeout=timeout_s, headers=_trace_headers())
        except nats.errors.NoRespondersError:
            raise _NobodyThere(f"{who} is not on the bus") from None
        except (nats.errors.TimeoutError, TimeoutError):
            raise Unavailable(f"{who} did not answer within {timeout_s:g} s") from None
        except nats.errors.MaxPayloadError:
            raise InvalidMessage(f"a message of {len(body)} bytes is too large for the bus") from None
        except nats.errors.Error as error:
            raise Unavailable(f"the bus is out of reach: {error}") from None
        if reply.headers and ERROR_CODE_HEADER in reply.headers:
            raise error_from(_problem(reply))
        try:
            return msgspec.json.decode(reply.data, type=answer)
        except msgspec.DecodeError as error:
            raise InvalidMessage(f"{who} answered in a form that we do not know: {error}") from None


class _NobodyThere(Unavailable):
    pass


def _problem(reply: Msg) -> Problem:
    try:
        return msgspec.json.decode(reply.data, type=Problem)
    except msgspec.DecodeError:
        headers = reply.headers or {}
        return Problem("internal", headers.get(ERROR_HEADER, "the other side failed"))


def _trace_headers() -> dict[str, str]:
    traceparent = current_traceparent()
    return {"traceparent": traceparent} if traceparent else {}


@asynccontextmanager
async def connect_bus(
    settings: BusSettings, user: str, *, patiently: bool = True, absence_s: float = 0.0
) -> AsyncIterator[Bus]:
    """Connect as `user` (a service's name or a machine's id), and leave in order at the end.

    `patiently` waits for a server that is not up yet, else it fails after some seconds. `absence_s`: see
    `Bus.ask`.

    Raises:
        ConfigurationError: the credentials cannot be read or are refused, or nobody is there.
    """
    subjects = Subjects(settings.subject_prefix)
    if settings.nats_credentials and not Path(settings.nats_credentials).is_file():
        raise ConfigurationError(
            f"no credentials at {settings.nats_credentials}: see UNDERSTUDY_NATS_CREDENTIALS"
        )
    bus: Bus | None = None
    refused = asyncio.Event()

    async def disconnected() -> None:
        log.warning("bus disconnected", user=user)

    async def reconnected() -> None:
        if bus is not None:
            bus.interrupted_at = time.monotonic()
        log.info("bus connected again", user=user)

    async def failed(error: Exception) -> None:
        if "authorization" in str(error).lower():
            refused.set()
        log.warning("bus error", user=user, error=str(error) or type(error).__name__)

    # The client itself waits for a server that is not up yet; it would also try refused credentials for ever.
    client = TidyClient()
    connecting = asyncio.create_task(
        client.connect(
            settings.nats_url.split(","),
            name=f"understudy {user}",
            user_credentials=settings.nats_credentials or None,
            inbox_prefix=inbox_of(user),
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type] # it may be less than 1
            ping_interval=5,
            max_outstanding_pings=2,
            connect_timeout=5,
            pending_size=-1,
            disconnected_cb=disconnected,
            reconnected_cb=reconnected,
            error_cb=failed,
        )
    )
    refusal = asyncio.create_task(refused.wait())
    try:
        await asyncio.wait(
            {connecting, refusal},
            timeout=None if patiently else IMPATIENT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if refused.is_set():
            raise ConfigurationError(f"the bus refuses {user}: its credentials are not this host's")
        if not connecting.done():
            raise ConfigurationError(f"no NATS server at {settings.nats_url} for {IMPATIENT_S:g} s")
        connecting.result()
    except BaseException as error:
        await client.give_up(connecting)
        if isinstance(error, OSError | ValueError | nats.errors.Error):
            raise ConfigurationError(f"cannot use the bus at {settings.nats_url}: {error}") from None
        raise
    finally:
        refusal.cancel()
    bus = Bus(client, subjects, absence_s=absence_s)
    try:
        yield bus
    finally:
        await _leave(client)


async def _leave(client: TidyClient) -> None:
    try:
        # Draining wants a living connection; without one there is nothing to lose by closing.
        if client.is_connected:
            async with asyncio.timeout(3):
                await client.flush(timeout=2)
    except (nats.errors.Error, TimeoutError):
        log.debug("nothing flushed at the end")
    finally:
        await client.leave()
