"""The bus against a real nats-server in operator mode."""

import asyncio
import json

import msgspec
import nats
import pytest
from understudy_bus.connection import connect_bus
from understudy_bus.events import follow_events, publish_event
from understudy_bus.hearing import hear_machines
from understudy_bus.serving import VerbHandlers, serve_commands, serve_verbs
from understudy_contracts.commands import AgentCommand, Done, ReportState, StandDown
from understudy_contracts.errors import ConfigurationError, Conflict, StaleEpoch, Unavailable, UnderstudyError
from understudy_contracts.events import Event
from understudy_contracts.machine import Heartbeat
from understudy_contracts.model import Service
from understudy_contracts.subjects import MachineAddress
from understudy_contracts.verbs import READ_LICENSES, RETURN_KEYS, Licenses, ReadLicenses, ReturnKeys
from understudy_runtime.configuration import BusSettings

CAM_HOUSE = MachineAddress("site-a", "m-1")


async def test_a_service_answers_and_its_refusals_arrive_as_the_same_error(host):
    async def read(request: ReadLicenses) -> Licenses:
        if request.server == "none":
            raise Conflict("no such holder", server="none")
        return Licenses([])

    handlers = VerbHandlers(Service.LICENSE_BROKER)
    handlers.add(READ_LICENSES, read)
    async with host.bus(Service.LICENSE_BROKER) as broker, host.bus(Service.API_GATEWAY) as gateway:
        async with serve_verbs(broker, handlers):
            assert await gateway.ask(READ_LICENSES, ReadLicenses()) == Licenses([])
            with pytest.raises(Conflict, match="no such holder") as refusal:
                await gateway.ask(READ_LICENSES, ReadLicenses(server="none"))
            assert refusal.value.details == {"server": "none"}
        with pytest.raises(Unavailable, match="license-broker is not on the bus"):
            await gateway.ask(READ_LICENSES, ReadLicenses())


async def test_a_service_that_is_being_started_is_waited_for(host):
    heard = []

    async def move(request: ReturnKeys) -> Licenses:
        heard.append(request)
        return Licenses([])

    handlers = VerbHandlers(Service.LICENSE_BROKER)
    handlers.add(RETURN_KEYS, move)
    request = ReturnKeys("f-1", 1)
    gateway_settings = host.settings(Service.API_GATEWAY)
    async with (
        host.bus(Service.LICENSE_BROKER) as broker,
        connect_bus(gateway_settings, Service.API_GATEWAY, absence_s=30.0) as gateway,
    ):
        asking = asyncio.create_task(gateway.ask(RETURN_KEYS, request))
        # Twice nobody was there: the server has told it so.
        while gateway.client.stats["out_msgs"] < 2:
            await asyncio.sleep(0.01)
        async with serve_verbs(broker, handlers):
            assert await asking == Licenses([])
    assert heard == [request]


async def test_foreign_exceptions_do_not_leak_their_text(host):
    async def read(_: ReadLicenses) -> Licenses:
        raise RuntimeError("password=hunter2")

    handlers = VerbHandlers(Service.LICENSE_BROKER)
    handlers.add(READ_LICENSES, read)
    async with host.bus(Service.LICENSE_BROKER) as broker, host.bus(Service.API_GATEWAY) as gateway:
        async with serve_verbs(broker, handlers):
            with pytest.raises(UnderstudyError) as failure:
                await gateway.ask(READ_LICENSES, ReadLicenses())
    assert "hunter2" not in failure.value.message


async def test_requests_run_beside_each_other(host):
    both = asyncio.Barrier(2)

    async def read(_: ReadLicenses) -> Licenses:
        await both.wait()
        return Licenses([])

    handlers = VerbHandlers(Service.LICENSE_BROKER)
    handlers.add(READ_LICENSES, read)
    async with host.bus(Service.LICENSE_BROKER) as broker, host.bus(Service.API_GATEWAY) as gateway:
        async with serve_verbs(broker, handlers):
            asked = [gateway.ask(READ_LICENSES, ReadLicenses()) for _ in range(2)]
            assert await asyncio.gather(*asked) == [Licenses([]), Licenses([])]


async def test_the_micro_protocol_lists_the_verbs(host):
    async def give_back(_: ReturnKeys) -> Licenses:
        return Licenses([])

    handlers = VerbHandlers(Service.LICENSE_BROKER)
    handlers.add(RETURN_KEYS, give_back)
    async with host.bus(Service.LICENSE_BROKER) as broker, host.observer_bus() as observer:
        async with serve_verbs(broker, handlers):
            reply = await observer.client.request("$SRV.INFO.understudy-license-broker", timeout=5)
    info = json.loads(reply.data)
    subjects = [endpoint["subject"] for endpoint in info["endpoints"]]
    assert subjects == [host.subjects.verb("license-broker", "return-keys")]


async def test_commands_reach_the_machine_and_garbage_is_answered(host):
    state = Heartbeat(machine="m-1", site="site-a", boot="b", sequence=1, sent_at=1)

    async def carry_out(command: AgentCommand) -> Done:
        if isinstance(command, StandDown):
            raise StaleEpoch("epoch 1 is older than 2")
        return Done(state)

    async with host.machine_bus(CAM_HOUSE) as machine, host.bus(Service.ORCHESTRATOR) as orchestrator:
        async with serve_commands(machine, CAM_HOUSE, carry_out):
            assert await orchestrator.command(CAM_HOUSE, ReportState()) == Done(state)
            with pytest.raises(StaleEpoch):
                await orchestrator.command(CAM_HOUSE, StandDown(1, 1, "f-1"))
            subject = host.subjects.command(CAM_HOUSE, "report-state")
            for garbage in (b"", b"{", b"[]", b"\xff\xfe", b'{"command":"nonsense"}', b"[" * 100_000):
                reply = await orchestrator.client.request(subject, garbage, timeout=5)
                assert json.loads(reply.data)["code"] == "invalid-message"


async def test_a_machine_can_speak_only_for_itself(host):
    async with host.machine_bus(CAM_HOUSE) as machine, host.observer_bus() as observer:
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def note(subject: str, _: Heartbeat) -> None:
            heard.put_nowait(subject)

        await observer.hear(host.subjects.all_heartbeats, Heartbeat, note)
        await observer.settled()
        for address in (MachineAddress("site-a", "m-2"), MachineAddress("site-b", "m-1"), CAM_HOUSE):
            beat = Heartbeat(machine=address.machine, site=address.site, boot="b", sequence=1, sent_at=1)
            await machine.say(host.subjects.heartbeat(address), beat)
        # The server keeps order, so the first one that is heard is the first one that was allowed.
        assert await asyncio.wait_for(heard.get(), 5) == host.subjects.heartbeat(CAM_HOUSE)


async def test_a_machine_is_heard_on_both_subjects_and_only_of_itself(host):
    async with host.machine_bus(CAM_HOUSE) as machine, host.observer_bus() as observer:
        heard: asyncio.Queue[tuple[MachineAddress, int]] = asyncio.Queue()

        async def note(address: MachineAddress, beat: Heartbeat) -> None:
            heard.put_nowait((address, beat.sequence))

        await hear_machines(observer, Heartbeat, note)
        await observer.settled()
        subjects = [host.subjects.heartbeat(CAM_HOUSE), host.subjects.report(CAM_HOUSE, "state")]
        own = Heartbeat(machine=CAM_HOUSE.machine, site=CAM_HOUSE.site, boot="b", sequence=1, sent_at=1)
        of_another = [
            msgspec.structs.replace(own, machine="m-9", sequence=8),
            msgspec.structs.replace(own, site="site-b", sequence=9),
        ]
        for subject in subjects:
            for beat in (*of_another, own):
                await machine.say(subject, beat)
        async with asyncio.timeout(5):
            assert [await heard.get(), await heard.get()] == [(CAM_HOUSE, 1)] * 2


async def test_an_observer_hears_no_answers_to_others_and_takes_nothing_from_them(host):
    """Answers hold camera passwords and signed grants; a service whose consumer is gone misses events."""
    async with host.bus(Service.LICENSE_BROKER) as broker, host.bus(Service.API_GATEWAY) as gateway:
        denied: asyncio.Queue[str] = asyncio.Queue()
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def refused(error: Exception) -> None:
            denied.put_nowait(str(error))

        async def note(message) -> None:
            heard.put_nowait(message.subject)

        settings = host.observer_settings()
        observer = await nats.connect(
            settings.nats_url, user_credentials=settings.nats_credentials, error_cb=refused
        )
        for subject in ("_INBOX.api-gateway.>", f"{host.subjects.prefix}.host.>"):
            await observer.subscribe(subject, cb=note)
            assert "permissions violation" in (await asyncio.wait_for(denied.get(), 5)).lower(), subject
        for call in ("DELETE", "MSG.NEXT", "DURABLE.CREATE", "CREATE"):
            await observer.publish(f"$JS.API.CONSUMER.{call}.{host.subjects.events_stream}.x", b"{}")
            assert "permissions violation" in (await asyncio.wait_for(denied.get(), 5)).lower(), call
        await observer.subscribe("_INBOX.>", cb=note)
        await observer.flush()

        async def read(_: ReadLicenses) -> Licenses:
            return Licenses([])

        handlers = VerbHandlers(Service.LICENSE_BROKER)
        handlers.add(READ_LICENSES, read)
        async with serve_verbs(broker, handlers):
            await gateway.ask(READ_LICENSES, ReadLicenses())
            # With an inbox as the NATS CLI has it, an answer to the observer itself arrives.
            await observer.publish("$SRV.PING", reply="_INBOX.mine.1")
            assert await asyncio.wait_for(heard.get(), 5) == "_INBOX.mine.1"
        assert heard.empty()
        assert denied.empty()
        await observer.close()


async def test_events_arrive_once_in_order_also_after_a_restart_of_the_follower(host):
    seen: asyncio.Queue[Event] = asyncio.Queue()

    async def note(event: Event) -> None:
        seen.put_nowait(event)

    def event(number: int) -> Event:
        return Event(f"orchestrator-{number}", "failover", "f-1", "active", number, 1, msgspec.Raw(b"{}"))

    async with host.bus(Service.ORCHESTRATOR) as writer, host.bus(Service.MONITOR) as reader:
        following = asyncio.create_task(
            follow_events(reader, "failover.>", note, durable="monitor-failovers")
        )
        while not await _has_consumer(writer, "monitor-failovers"):
            await asyncio.sleep(0.02)
        for number in (1, 2, 2):
            await publish_event(writer, event(number))
        assert [(await asyncio.wait_for(seen.get(), 5)).sequence for _ in range(2)] == [1, 2]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await publish_event(writer, event(3))
        following = asyncio.create_task(
            follow_events(reader, "failover.>", note, durable="monitor-failovers")
        )
        assert (await asyncio.wait_for(seen.get(), 10)).sequence == 3
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert seen.empty()


async def _has_consumer(bus, name):
    names = [info.name for info in await bus.jetstream.consumers_info(bus.subjects.events_stream)]
    return name in names


async def test_foreign_credentials_are_refused_in_one_line(host, tmp_path):
    from understudy_bus.authority import write_authority

    write_authority(tmp_path / "elsewhere")
    settings = BusSettings(
        nats_url=host.nats_url, nats_credentials=str(tmp_path / "elsewhere" / "monitor.creds")
    )
    with pytest.raises(ConfigurationError, match="refuses monitor"):
        async with connect_bus(settings, "monitor"):
            pass


async def test_what_was_subscribed_to_before_settling_is_heard(host):
    heard = asyncio.Queue()

    async def hear(_, beat):
        heard.put_nowait(beat.machine)

    many = 2000  # enough that the server is at them for a while
    async with host.bus(Service.MONITOR) as monitor, host.machine_bus(CAM_HOUSE) as machine:
        for _ in range(many):
            await monitor.hear(host.subjects.heartbeat(CAM_HOUSE), Heartbeat, hear)
        await monitor.settled()
        beat = Heartbeat(machine="m-1", site="site-a", boot="b", sequence=1, sent_at=1)
        await machine.say(host.subjects.heartbeat(CAM_HOUSE), beat)
        async with asyncio.timeout(10):
            for _ in range(many):
                assert await heard.get() == "m-1"
