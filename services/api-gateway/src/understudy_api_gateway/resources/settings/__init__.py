"""`/servers/{id}/settings`: the replicated settings, through the config-replicator."""
