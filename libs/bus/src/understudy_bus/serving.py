"""Answering requests: verbs of a service (NATS micro protocol) and commands of a machine.

Requests run in a bounded group of tasks of ours: `nats.micro` alone would run one at a time per endpoint,
answer with the text of any exception, and drop what is under way when it stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import nats.errors
import nats.micro
import structlog
from nats.aio.msg import Msg
from nats.micro.request import Request
from nats.micro.service import ServiceConfig
from opentelemetry import context as otel_context
from understudy_contracts.commands import AgentCommand, Done
from understudy_contracts.errors import InvalidMessage, Problem, UnderstudyError
from understudy_contracts.model import Service
from understudy_contracts.subjects import MachineAddress
from understudy_contracts.verbs import A, Q, Verb
from understudy_runtime.telemetry import context_from, span

from understudy_bus.connection import ERROR_CODE_HEADER, ERROR_HEADER, Bus

AT_ONCE = 64

log = structlog.get_logger()

Respond = Callable[[bytes, dict[str, str] | None], Awaitable[None]]


class _Requests:
    """Runs handlers, at most AT_ONCE of them, and waits for them at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def start(self, work: Coroutine[Any, Any, None]) -> None:
        await self._room.acquire()
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()

    async def finish(self, within_s: float = 5.0) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=within_s)
        for task in self._tasks:
            task.cancel()


class VerbHandlers:
    """The verbs that a service answers, each with its handler."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.handlers: list[tuple[Verb[Any, Any], Callable[[Any], Awaitable[Any]]]] = []

    def add(self, verb: Verb[Q, A], handler: Callable[[Q], Awaitable[A]]) -> None:
        """Answer `verb` by `handler`.

        Raises:
            ValueError: the verb is another service's.
        """
        if verb.service is not self.service:
            raise ValueError(f"{verb.name} is a verb of {verb.service}")
        self.handlers.append((verb, handler))


@asynccontextmanager
async def serve_verbs(bus: Bus, handlers: VerbHandlers, *, version: str = "0.1.0") -> AsyncIterator[None]:
    """Answer while the context is open; at its end, finish what is under way."""
    requests = _Requests()
    service = await nats.micro.add_service(
        bus.client,
        ServiceConfig(
            name=f"understudy-{handlers.service}",
            version=version,
            description=f"Understudy {handlers.service}",
            queue_group="q",
        ),
    )
    for verb, handler in handlers.handlers:
        await service.add_endpoint(
            name=verb.name,
            subject=bus.subjects.verb(verb.service, verb.name),
            handler=_endpoint(requests, verb, handler),
        )
    await bus.settled()
    try:
        yield
    finally:
        await requests.finish()
        try:
            await service.stop()
        except nats.errors.Error as error:
            log.debug("the bus was gone before the service had left it", error=str(error))


def _endpoint(
    requests: _Requests, verb: Verb[Q, A], handler: Callable[[Q], Awaitable[A]]
) -> Callable[[Request], Awaitable[None]]:
    decoder = msgspec.json.Decoder(verb.request)

    async def answer(request: Request) -> None:
        await requests.start(
            _answer(
                f"{verb.service}.{verb.name}",
                request.data,
                request.headers,
                decoder,
                handler,
                request.respond,
            )
        )

    return answer


@asynccontextmanager
async def serve_commands(
    bus: Bus, address: MachineAddress, handler: Callable[[AgentCommand], Awaitable[Done]]
) -> AsyncIterator[None]:
    """Carry out this machine's commands while the context is open."""
    requests = _Requests()
    decoder: msgspec.json.Decoder[AgentCommand] = msgspec.json.Decoder(AgentCommand)

    async def received(message: Msg) -> None:
        name = message.subject.rpartition(".")[2]

        async def respond(data: bytes, headers: dict[str, str] | None = None) -> None:
            if message.reply:
                await bus.client.publish(message.reply, data, headers=headers)

        await requests.start(
            _answer(f"agent.{name}", message.data, message.headers, decoder, handler, respond)
        )

    subscription = await bus.client.subscribe(bus.subjects.commands(address), cb=received)
    await bus.settled()
    try:
        yield
    finally:
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            log.debug("the bus was gone before the agent had left it", error=str(error))
        await requests.finish()


async def _answer(
    name: str,
    data: bytes,
    headers: dict[str, str] | None,
    decoder: msgspec.json.Decoder[Any],
    handler: Callable[[Any], Awaitable[Any]],
    respond: Callable[..., Awaitable[None]],
) -> None:
    token = otel_context.attach(context_from(headers))
    try:
        with span(name):
            problem, body = await _carry_out(name, data, decoder, handler)
            error_headers = None
            if problem is not None:
                error_headers = {
                    ERROR_CODE_HEADER: problem.code,
                    ERROR_HEADER: problem.message.replace("\n", " ").replace("\r", " "),
                }
            await respond(body, error_headers)
    except (nats.errors.Error, ValueError) as error:
        log.warning("answer not delivered", request=name, error=str(error))
    finally:
        otel_context.detach(token)


async def _carry_out(
    name: str, data: bytes, decoder: msgspec.json.Decoder[Any], handler: Callable[[Any], Awaitable[Any]]
) -> tuple[Problem | None, bytes]:
    try:
        try:
            request = decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidMessage(f"the request is not understood: {error}") from None
        return None, msgspec.json.encode(await handler(request))
    except UnderstudyError as error:
        return error.problem(), msgspec.json.encode(error.problem())
    except Exception:
        # Foreign exceptions may carry secrets or paths in their text: the log gets it, the caller does not.
        log.exception("request failed", request=name)
        problem = Problem("internal", "the request failed; the service's log says why")
        return problem, msgspec.json.encode(problem)
