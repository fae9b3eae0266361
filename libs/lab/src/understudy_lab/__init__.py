"""Embedded NATS and MongoDB, simulated cameras, injected faults."""
