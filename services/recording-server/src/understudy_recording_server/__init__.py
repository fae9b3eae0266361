"""Runs on each recording and failover server: agent and recorder."""
