"""The producer's side: one pump a stream, and what drives all of them together."""
