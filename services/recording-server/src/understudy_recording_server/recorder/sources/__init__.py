"""Where frames come from: a camera's address, the connection to it, and what it sends."""
