"""`python -m understudy_recording_server.recorder_start PROTOCOL ...`: the recorder, if it can run.

The agent may be older than what is installed: it says which protocol it speaks. What stands in the way is
said in the words of the protocol that never change, and by the exit status (supervising/health.py).
"""

from __future__ import annotations

import json
import sys

from understudy_recording_server.supervising.health import INCOMPATIBLE_STATUS, NOT_INSTALLED_STATUS


def protocol_id() -> str:
    """What agent and recorder must agree on: the forms of all commands and reports, in short.

    Raises:
        ImportError: the recorder, or a library that it needs, is not installed.
    """
    import msgspec
    from blake3 import blake3

    from understudy_recording_server.recorder.protocol import Command, Report

    _, forms = msgspec.json.schema_components([Command, Report])
    text = json.dumps(_canonical(forms), sort_keys=True)
    return blake3(text.encode()).hexdigest()[:16]


def _canonical(form: object) -> object:
    """Without descriptions, which are for people; lists in one order, for they are sets here; and all numbers
    alike, for of two forms that differ by 1 and 1.0 only, Python's typing keeps whichever came first."""
    if isinstance(form, dict):
        return {key: _canonical(value) for key, value in form.items() if key != "description"}
    if isinstance(form, list):
        return sorted(json.dumps(_canonical(value), sort_keys=True) for value in form)
    if isinstance(form, int) and not isinstance(form, bool):
        return float(form)
    return form


def _refuse(status: int, reason: str) -> int:
    sys.stdout.write(json.dumps({"kind": "error", "reason": reason}) + "\n")
    sys.stdout.flush()
    return status


def main() -> int:
    expected, *arguments = sys.argv[1:] or [""]
    try:
        found = protocol_id()
        from understudy_recording_server.recorder import __main__ as recorder
    except ImportError as error:
        return _refuse(NOT_INSTALLED_STATUS, f"the recorder is not installed: {error}")
    if found != expected:
        return _refuse(
            INCOMPATIBLE_STATUS,
            "the recorder that is installed is of another version than the running agent: restart the agent",
        )
    sys.argv = [sys.argv[0], *arguments]
    return recorder.main()


if __name__ == "__main__":
    sys.exit(main())
