"""`/cameras/{id}/live`, `/timeline`, `/recordings`, `/snapshots`: media, from whoever holds it."""
