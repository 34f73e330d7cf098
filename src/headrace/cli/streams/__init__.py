"""``headrace streams``: what the relay holds."""
