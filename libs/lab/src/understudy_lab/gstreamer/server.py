"""GStreamer's RTSP server with the mounts that it is told, a process of its own.

Run by the system's python (see PACKAGES in cameras.py), never imported:

    /usr/bin/python3 server.py '{"mounts": {"/cam-1": "( videotestsrc ... )"}, "port": 0}'

`login` ([user, password]) asks for digest authentication. The first line of output is {"port": N}; then each
line of input is a command, answered by a line:

    {"do": "set", "mount": M, "element": E, "property": P, "value": V}   in the running pipeline
    {"do": "drop"}                                                       every client's connection, at once
"""

import json
import sys
import threading
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


class Cameras:
    def __init__(self, options: dict[str, Any]) -> None:
        self._media: dict[str, Any] = {}
        self._server = GstRtspServer.RTSPServer()
        self._server.set_address("127.0.0.1")
        self._server.set_service(str(options.get("port", 0)))
        self._server.set_backlog(512)
        if "login" in options:
            self._ask_for(*options["login"])
        for mount, launch in options["mounts"].items():
            self._serve(mount, launch, open_to_all="login" not in options)
        # Else the server handles all clients in one thread, and a slow one delays the others.
        self._server.get_thread_pool().set_max_threads(options.get("threads", 4))
        if not self._server.attach(None):
            sys.exit(f"cannot listen on port {options.get('port', 0)}")

    @property
    def port(self) -> int:
        return int(self._server.get_bound_port())

    def obey(self, line: str) -> bool:
        command = json.loads(line)
        answer = "done"
        if command["do"] == "set":
            media = self._media.get(command["mount"])
            element = media and media.get_element().get_by_name(command["element"])
            if element:
                Gst.util_set_object_arg(element, command["property"], command["value"])
            else:
                answer = "not running"
        else:
            self._server.client_filter(lambda _server, client: self._close(client))
        print(json.dumps(answer), flush=True)
        return False

    def _close(self, client: GstRtspServer.RTSPClient) -> GstRtspServer.RTSPFilterResult:
        client.close()
        return GstRtspServer.RTSPFilterResult.REMOVE

    def _ask_for(self, user: str, password: str) -> None:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_digest(user, password, token)
        self._server.set_auth(auth)

    def _serve(self, mount: str, launch: str, *, open_to_all: bool) -> None:
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(launch)
        factory.set_shared(True)
        if not open_to_all:
            allowed = "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
            factory.add_role_from_structure(Gst.Structure.new_from_string(allowed))
        factory.connect("media-configure", lambda _factory, media: self._media.__setitem__(mount, media))
        self._server.get_mount_points().add_factory(mount, factory)


def main() -> None:
    Gst.init(None)
    loop = GLib.MainLoop()
    cameras = Cameras(json.loads(sys.argv[1]))
    print(json.dumps({"port": cameras.port}), flush=True)

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(cameras.obey, line)
        GLib.idle_add(loop.quit)

    threading.Thread(target=listen, daemon=True).start()
    loop.run()


if __name__ == "__main__":
    main()
