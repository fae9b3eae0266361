"""HTTP API, event stream, web console."""
