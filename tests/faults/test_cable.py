"""The cables of a recording server are cut, one after the other: the host's line to it, and all (P7)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from understudy_contracts.model import Phase
from understudy_lab.network import elsewhere

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


async def test_a_server_that_its_peers_see_is_not_failed_over_and_one_that_nobody_sees_is(
    tmp_path, injected, build_house, plan_house
):
    with injected(elsewhere(cables=2)) as place:
        # On the second one it reaches its site: the cameras and the failover server.
        host_line, site_line = place.cables

        def placed(plan):
            listen = [*plan.arguments, "--listen", "0.0.0.0:0", "--advertise"]
            if plan.name == "server-1":
                return replace(plan, arguments=[*listen, site_line.there], before=place.into)
            return replace(plan, arguments=[*listen, site_line.here])

        plan = plan_house(1, 1, bus_host=host_line.here, camera_host=site_line.here, placed=placed)
        async with build_house(tmp_path / "data", plan) as house:
            host_line.cut()
            await house.status_is("server-1", "disconnected")
            assert "its peers see it" in (await house.shown("server-1"))["reason"]
            assert await house.failovers_of("server-1") == []
            site_line.cut()
            failover = await house.begun("server-1")
            reason = (await house.failover(failover))["reason"]
            assert (reason["code"], reason["text"]) == ("disconnected", "connection lost")
            await house.reaches(failover, Phase.ACTIVE)
            await house.status_is("server-1", "failed-over", active=2)
            for cable in (host_line, site_line):
                cable.mend()
            await house.reaches(failover, Phase.DONE)
            await house.status_is("server-1", "normal", active=2)
            restored = (await house.failover(failover))["restoration"]
            assert restored["files"] == restored["verified"] > 0
            assert len(await house.failovers_of("server-1")) == 1
