"""Footage on its way home: served by the failover server, fetched and verified by the recording server."""
