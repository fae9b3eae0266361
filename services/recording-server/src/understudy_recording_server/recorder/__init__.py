"""The recorder: a child process of the agent that fetches camera streams and writes them to disk."""
