"""What is told to the outside about streams: metrics."""
