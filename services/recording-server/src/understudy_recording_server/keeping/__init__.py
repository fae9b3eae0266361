"""Footage on the disk: what there is, how long it stays, and which goes first."""
