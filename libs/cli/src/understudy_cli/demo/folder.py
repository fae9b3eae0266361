"""The demo's data folder: a fresh one, and kept only when that is wanted or helps."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from understudy_contracts.errors import ConfigurationError
from understudy_lab.embedded.process import writable_folder


@contextlib.contextmanager
def demo_folder(chosen: Path | None, note: Callable[[str], None]) -> Iterator[Path]:
    """`chosen`, which must be new or empty; else a temporary folder, removed at the end, but kept for looking
    into it when the demo went wrong.

    Raises:
        ConfigurationError: it cannot be written, or there is something in it.
    """
    if chosen is not None:
        folder = writable_folder(chosen)
        if any(folder.iterdir()):
            raise ConfigurationError(
                f"{folder} is not empty: a demo starts afresh, choose another --data-dir or empty this one"
            )
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="understudy-demo-"))
    try:
        yield folder
    except Exception:
        note(f"logs and footage are kept in {folder}")
        raise
    except BaseException:  # ended by a person
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def require_writable_file(path: Path) -> None:
    """
    Raises:
        ConfigurationError: a report could not be written there after all the work.
    """
    existed = path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        raise ConfigurationError(f"cannot write the report to {path}: {error.strerror}") from None
    if not existed:
        path.unlink()
