"""The little that must be read out of H.264 and H.265 themselves."""
