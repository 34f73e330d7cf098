"""The consumer's side: who follows a log, at which offset, and what is written to them."""
