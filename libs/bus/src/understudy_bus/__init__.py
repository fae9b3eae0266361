"""NATS: typed commands, durable events, tracing."""
