"""A process's life: settings, clock, telemetry, retry, shutdown."""
