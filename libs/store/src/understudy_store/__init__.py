"""MongoDB: connection, indexes, leases, outbox."""
