"""``headrace config``: the settings that would be served with."""
