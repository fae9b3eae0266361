"""`/cameras`: the cameras of a server, through the config-replicator."""
