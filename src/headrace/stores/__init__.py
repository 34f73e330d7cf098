"""What keeps logs and records: each backend implements ``headrace.stream.store``; ``url`` chooses one."""
