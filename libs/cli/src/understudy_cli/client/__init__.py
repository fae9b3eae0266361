"""The commands that are a client of the HTTP API."""
