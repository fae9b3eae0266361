"""`python -m understudy_lab.cameras`: simulated cameras as a process.

Prints one line of JSON when ready: `{"port": 5554, "cameras": [{"id": "cam-1", "url": "rtsp://..."}]}`,
without passwords. Then it takes orders (see control.py), a line each, and answers each with a line. It ends
on SIGTERM and SIGINT, and with --until-stdin-closes also when its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
from understudy_contracts.errors import UnderstudyError

from understudy_lab.cameras.clip import ClipSettings
from understudy_lab.cameras.control import carry_out
from understudy_lab.cameras.digest import Login
from understudy_lab.cameras.simulator import SimulatedCameras, camera_ids

_MAX_CAMERAS = 1000
_MAX_ORDER_BYTES = 64 * 1024


def main() -> int:
    options = _parser().parse_args()
    password = options.password
    if options.password_env:
        password = os.environ.get(options.password_env, "")
    if bool(options.username) != bool(password):
        sys.stderr.write("understudy cameras: a user name needs a password, and a password a user name\n")
        return 2
    try:
        cameras = SimulatedCameras(
            camera_ids(options.count, options.prefix),
            host=options.host,
            port=options.port,
            login=Login(options.username, password) if options.username else None,
            clip=ClipSettings(
                width=options.width,
                height=options.height,
                fps=options.fps,
                bitrate_kbit=options.bitrate,
                gop_s=options.gop,
                length_s=options.clip_length,
            ),
            start_with_key_frame=options.start_with_key_frame,
            seed=options.seed,
            cache_dir=options.cache_dir,
        )
        asyncio.run(_serve(cameras, until_stdin_closes=options.until_stdin_closes))
    except UnderstudyError as error:
        sys.stderr.write(f"understudy cameras: {error}\n")
        return 1
    return 0


async def _serve(cameras: SimulatedCameras, *, until_stdin_closes: bool) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    async with cameras:
        listed = [{"id": camera_id, "url": cameras.url(camera_id)} for camera_id in cameras.ids]
        _say({"port": cameras.port, "cameras": listed})

        def obey(line: bytes) -> None:
            _say(carry_out(line, cameras))

        def read_orders() -> None:
            for line in _lines_of_stdin():
                loop.call_soon_threadsafe(obey, line)
            if until_stdin_closes:
                loop.call_soon_threadsafe(end.set)

        # A daemon: it may hang in read for ever, and must not keep the process.
        threading.Thread(target=read_orders, name="orders", daemon=True).start()
        await end.wait()


def _lines_of_stdin() -> Iterator[bytes]:
    """Read unbuffered: a thread that hangs in sys.stdin would hold its lock while the interpreter ends."""
    rest = b""
    while True:
        try:
            data = os.read(0, _MAX_ORDER_BYTES)
        except OSError:
            return
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (line for line in lines if line.strip())
        rest = rest[-_MAX_ORDER_BYTES:]


def _say(message: object) -> None:
    sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m understudy_lab.cameras", description="Simulated cameras."
    )
    add = parser.add_argument
    usual = ClipSettings()
    add("--count", type=_count, default=4, help="how many cameras")
    add("--prefix", default="cam", help="cameras are called PREFIX-1, PREFIX-2, ...")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 takes any free port")
    add("--username", help="ask for this login (digest)")
    add("--password")
    add("--password-env", metavar="NAME", help="take the password from this environment variable")
    add("--start-with-key-frame", action="store_true", help="a viewer first gets the current key frame on")
    add("--gop", type=float, default=usual.gop_s, help="seconds between key frames")
    add("--fps", type=int, default=usual.fps)
    add("--width", type=int, default=usual.width)
    add("--height", type=int, default=usual.height)
    add("--bitrate", type=int, default=usual.bitrate_kbit, help="kbit/s")
    add("--clip-length", type=float, default=usual.length_s, help="seconds until the picture repeats")
    add("--seed", type=int, default=1, help="draws the cameras' phases")
    add("--cache-dir", type=Path, help="where encoded clips are kept")
    add("--until-stdin-closes", action="store_true", help="end when standard input closes")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _MAX_CAMERAS:
        raise argparse.ArgumentTypeError(f"must be 1 to {_MAX_CAMERAS}")
    return count


if __name__ == "__main__":
    sys.exit(main())
