"""How long cameras go unrecorded when a recorder is killed: kill -9 to the last camera's first key frame.

    uv run benchmarks/recorder_restart.py [--cameras 90] [--seconds 50] [--runs 3] [--json]

The recorder is started again at once, as its agent does, and finds the unfinished files that it had written
for the given seconds. Cameras as in recorder.py. The last line of output is one JSON object; figures are in
seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
from recorder import cameras_of, read_on, record
from understudy_lab.gstreamer import missing


async def unrecorded_s(urls: list[str], seconds: float, folder: Path) -> float:
    """Record for so long, kill the recorder, start it again."""
    process, _, _ = await record(urls, folder)
    if process.stdout is None:
        raise RuntimeError("no pipes")
    reading = asyncio.create_task(read_on(process.stdout))
    await asyncio.sleep(seconds)
    killed_ms = time.time() * 1000
    process.kill()
    await process.wait()
    await reading
    process, told_ms, keys = await record(urls, folder)
    process.kill()
    await process.communicate()
    return (told_ms - killed_ms) / 1000 + max(keys)


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    source = "lab" if missing() else "gstreamer"
    found: list[float] = []
    async with cameras_of(source, options.cameras, options.seconds, folder) as urls:
        for number in range(1, options.runs + 1):
            place = folder / f"{number}"
            place.mkdir()
            found.append(await unrecorded_s(urls, options.seconds, place))
            if not options.json:
                print(f"run {number}: all {len(urls)} cameras are recorded again after {found[-1]:.2f} s")
    return {
        "cameras": options.cameras,
        "seconds_before": options.seconds,
        "unrecorded_s_median": round(statistics.median(found), 2),
        "unrecorded_s_max": round(max(found), 2),
        "source": source,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cameras", type=int, default=90)
    parser.add_argument("--seconds", type=float, default=50.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    options = parser.parse_args()
    if options.cameras < 1 or options.runs < 1 or options.seconds <= 0:
        parser.error("cameras, runs and seconds must be more than 0")
    with tempfile.TemporaryDirectory(prefix="bench-recorder-restart-") as folder:
        print(msgspec.json.encode(asyncio.run(measure(options, Path(folder)))).decode())


if __name__ == "__main__":
    main()
