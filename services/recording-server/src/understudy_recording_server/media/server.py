"""The media part of the agent's HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from understudy_contracts.errors import NotFound
from understudy_footage import FootageRoot
from understudy_runtime.clock import Clock

from understudy_recording_server.identity import AgentRecord
from understudy_recording_server.media.access import Access
from understudy_recording_server.media.feeds import NOT_HERE, Feeds
from understudy_recording_server.media.live import Live
from understudy_recording_server.media.playback import Playback
from understudy_recording_server.media.snapshots import Snapshots
from understudy_recording_server.media.taking import Taking
from understudy_recording_server.supervising.supervisor import RecorderSupervisor


class MediaServer:
    """Everything below `/media`."""

    def __init__(
        self,
        data_dir: Path,
        record: Callable[[], AgentRecord],
        recorder: RecorderSupervisor,
        clock: Clock,
        kept: Callable[[str, int], None],
    ) -> None:
        """`kept` is told of each snapshot that is kept: its path in the data folder, its size in bytes."""
        self._access = Access(record, clock)
        self._playback = Playback(FootageRoot(data_dir), self._access, clock)
        self._feeds = Feeds(recorder)
        self._live = Live(self._access, self._feeds)
        self._recorder = recorder
        self.snapshots = Snapshots(data_dir, self._feeds, recorder, self._intervals, kept)
        self._taking = Taking(self._access, self.snapshots, self._happened)

    def add_to(self, router: web.UrlDispatcher) -> None:
        self._playback.add_to(router)
        self._live.add_to(router)
        self._taking.add_to(router)

    def _intervals(self) -> dict[str, int]:
        return {id_: s for one in self._recorder.sets.values() for id_, s in one.snapshot_every_s.items()}

    def _happened(self, camera: str) -> dict[str, object]:
        for_s = self._recorder.happened(camera)
        if for_s is None:
            raise NotFound(NOT_HERE)
        self.snapshots.soon(camera)
        return {"camera": camera, "records_for_s": for_s}
