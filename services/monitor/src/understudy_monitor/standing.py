"""Since when each matter with a server holds. No clock: times are those of the evidence."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from understudy_contracts.model import Verdict


class Standing:
    """Several things can be the matter with a server, and each has its own time: one that comes and goes does
    not begin another anew."""

    def __init__(self) -> None:
        self._since: dict[str, dict[Verdict, float]] = {}

    def note(self, server: str, verdicts: Iterable[Verdict], at: float) -> Mapping[Verdict, float]:
        """These hold at `at`, and no others: since when each does."""
        known = self._since.get(server, {})
        self._since[server] = {verdict: known.get(verdict, at) for verdict in verdicts}
        return self._since[server]

    def forget_all_but(self, servers: Container[str]) -> None:
        self._since = {server: since for server, since in self._since.items() if server in servers}
