"""Stopping a failover whose original is away, with the real orchestrator."""

from monitor_in_tests import Teller, a_failover
from service_in_tests import running_service
from understudy_contracts.errors import NotFound
from understudy_contracts.model import Phase, Service
from understudy_contracts.verbs import STOP_FAILOVER, StopFailover


async def test_stopping_while_the_original_is_away_must_be_confirmed(gateway, admin, host, database):
    await admin.add_failover_server("Spare")
    await admin.add_recording_server("North", pairing="all")
    async with host.bus(Service.MONITOR) as monitor, host.bus(Service.ORCHESTRATOR) as orchestrator:
        teller = Teller(database, monitor, orchestrator)
        await teller.failover(a_failover("north", "spare", Phase.ACTIVE))
    async with host.bus(Service.API_GATEWAY) as bus:

        async def knock():
            try:
                await bus.ask(STOP_FAILOVER, StopFailover("f-99", "test"))
            except NotFound:
                return

        async with running_service(host, Service.ORCHESTRATOR, knock=knock):
            warning = (await admin.call("POST", "/failovers/f-1/stop", expect=409)).json()
            assert warning["type"] == "confirmation-required"
            assert "nobody will record" in warning["destroys"]
            wrong = {"confirmation": "guess"}
            await admin.call("POST", "/failovers/f-1/stop", json=wrong, expect=409)
            right = {"confirmation": warning["confirmation"]}
            stopped = (await admin.call("POST", "/failovers/f-1/stop", json=right, expect=202)).json()
            assert stopped["stop_requested"] is True
            assert stopped["stop_requested_by"] == "admin"
