"""``headrace keys``: who may use a relay."""
