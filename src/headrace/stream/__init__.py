"""The stream log: entries, offsets, states, and the interfaces of what keeps them. No sockets here."""
