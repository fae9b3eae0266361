"""Live view, playback and snapshots, served from the machine that holds them."""
