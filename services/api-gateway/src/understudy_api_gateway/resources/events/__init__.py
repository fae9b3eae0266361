"""`/events`: the system's events as server-sent events."""
