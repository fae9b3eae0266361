"""`/failovers`: seen here, started and stopped through the orchestrator."""
