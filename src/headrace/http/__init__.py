"""The HTTP server: routes over raw ASGI, and the composition of a node."""
