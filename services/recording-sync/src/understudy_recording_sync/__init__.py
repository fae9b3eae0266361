"""Brings footage home."""
