"""One slice per resource of the HTTP API: its handlers, its requests, what it decides, what it keeps."""
