"""Versioned settings: stage, apply, restore."""
