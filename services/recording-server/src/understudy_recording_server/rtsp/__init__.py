"""The camera's side of the recorder: RTSP over one TCP connection, and the frames within. Pure but for
`conversation`."""
