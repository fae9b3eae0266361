"""Snapshots and events over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import hdrs, web

from understudy_recording_server.media.access import Access
from understudy_recording_server.media.answers import handled, json
from understudy_recording_server.media.snapshots import Snapshots

Happened = Callable[[str], dict[str, object]]
"""Takes note of an event at a camera, and says what follows.

Raises:
    NotFound: this machine does not serve the camera.
"""


class Taking:
    """`/media/cameras/<id>/snapshot.jpg`, POST `/snapshots`, POST `/events`."""

    def __init__(self, access: Access, snapshots: Snapshots, happened: Happened) -> None:
        self._access = access
        self._snapshots = snapshots
        self._happened = happened

    def add_to(self, router: web.UrlDispatcher) -> None:
        camera = "/media/cameras/{camera}"
        router.add_get(f"{camera}/snapshot.jpg", handled(self._show))
        router.add_post(f"{camera}/snapshots", handled(self._take))
        router.add_post(f"{camera}/events", handled(self._event))

    async def _show(self, request: web.Request) -> web.StreamResponse:
        picture = await self._snapshots.show(self._access.camera_of(request))
        headers = {"Understudy-Time": str(picture.time_ms), hdrs.CACHE_CONTROL: "no-store"}
        return web.Response(body=picture.jpeg, content_type="image/jpeg", headers=headers)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        name = await self._snapshots.take(self._access.camera_of(request))
        return json({"name": name.file_name, "time_ms": name.time_ms}, 201)

    async def _event(self, request: web.Request) -> web.StreamResponse:
        return json(self._happened(self._access.camera_of(request)), 201)
