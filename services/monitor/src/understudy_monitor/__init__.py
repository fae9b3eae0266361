"""Hears heartbeats, weighs evidence, gives verdicts."""
