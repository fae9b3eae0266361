"""The `understudy` command: one line on standard error for whatever goes wrong, never a traceback."""

from __future__ import annotations

import os
import sys
import traceback

import typer
from typer.exceptions import TyperException
from understudy_contracts.errors import InvalidInput, UnderstudyError

from understudy_cli.commands import app
from understudy_cli.one_line import FAILURE, USAGE, line_of, usage_line
from understudy_cli.running import INTERRUPTED, Ended


def main() -> int:
    """Run the command line; returns the exit status: 0, 1 it failed, 2 it makes no sense, 130 Ctrl-C."""
    try:
        result = app(standalone_mode=False, prog_name="understudy")
    except TyperException as error:
        return _refuse(usage_line(_text_of(error)), USAGE)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Ended as ended:
        return ended.status
    except BrokenPipeError:
        # Somebody closed the pipe (`understudy events | head`): nothing is wrong. Python would complain while
        # it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except InvalidInput as error:
        return _refuse(line_of(error), USAGE)
    except (UnderstudyError, OSError) as error:
        return _refuse(line_of(error), FAILURE)
    except Exception as error:  # noqa: BLE001 - the last line of defence: people see a line, not our insides
        if _debugging():
            traceback.print_exception(error)
        return _refuse(line_of(error), FAILURE)
    return result if isinstance(result, int) else 0


def _debugging() -> bool:
    return os.environ.get("UNDERSTUDY_LOG_LEVEL", "").lower() == "debug"


def _text_of(error: TyperException) -> str:
    format_message = getattr(error, "format_message", None)
    return str(format_message() if format_message else error)


def _refuse(line: str, status: int) -> int:
    sys.stderr.write(f"{line}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
