"""`/session`: login, logout, and who a token belongs to."""
