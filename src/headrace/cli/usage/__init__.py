"""``headrace usage``: what requests used and cost."""
