"""How recordings and snapshots lie on disk: names, index, hashes."""
