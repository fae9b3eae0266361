"""How long a recording server takes to know all its files.

`uv run benchmarks/index.py [--files 100000] [--json]`. The last line is one JSON object: `files`, `index_s`
{`median`,`max`} (building the index from the files, as at each start, with the names in the kernel's cache),
`cold_s` (the same after dropping that cache; null where only root could), `check_s` (comparing index and
files), `memory_mb` (what the index takes), `note_us` (noting one more file).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from understudy_footage import Catalog, FootageRoot, RecordingName
from understudy_footage.check import check

START_MS = 1_770_000_000_000
SEGMENT_MS = 60_000


def fill(data: FootageRoot, files: int, cameras: int) -> None:
    """Empty files stand for footage: the index reads names and sizes only."""
    folders: set[Path] = set()
    for number in range(files):
        name = RecordingName(START_MS + number // cameras * SEGMENT_MS, SEGMENT_MS)
        path = data.recording(f"cam-{number % cameras + 1}", name)
        if path.parent not in folders:
            path.parent.mkdir(parents=True)
            folders.add(path.parent)
        path.touch()


def drop_cache() -> bool:
    try:
        Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
    except OSError:
        return False
    return True


def timed_build(data: FootageRoot) -> float:
    began = time.perf_counter()
    Catalog.build(data)
    return time.perf_counter() - began


def measure(data: FootageRoot, runs: int) -> dict[str, object]:
    cold = timed_build(data) if drop_cache() else None
    warm = [timed_build(data) for _ in range(runs)]
    tracemalloc.start()
    catalog = Catalog.build(data)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    began = time.perf_counter()
    check(data, catalog)
    checked = time.perf_counter() - began
    began = time.perf_counter()
    for number in range(1000):
        name = RecordingName(START_MS + 10**10 + number, SEGMENT_MS)
        catalog.note(str(name.path("cam-1")), 1)
    noted = (time.perf_counter() - began) * 1000
    return {
        "files": catalog.files - 1000,
        "index_s": {"median": round(statistics.median(warm), 2), "max": round(max(warm), 2)},
        "cold_s": None if cold is None else round(cold, 2),
        "check_s": round(checked, 2),
        "memory_mb": round(memory / 1e6, 1),
        "note_us": round(noted, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--cameras", type=int, default=90)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="understudy-index-") as folder:
        data = FootageRoot(Path(folder))
        if not options.json:
            sys.stderr.write(f"making {options.files} files\n")
        fill(data, options.files, options.cameras)
        figures = measure(data, options.runs)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
