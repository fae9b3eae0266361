"""Versioned settings: kept, copied for failovers, pushed to the machines that need them."""
