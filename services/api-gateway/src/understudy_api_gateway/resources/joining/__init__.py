"""`/join`: a machine becomes the machine of a server, by the token that adding the server gave out."""
