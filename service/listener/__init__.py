"""What stands between a socket and the application: `protocol.Protocol`, which uvicorn is given."""
