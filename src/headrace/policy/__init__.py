"""Decisions without sockets or clocks: how long to wait, how much to take, what to keep."""
