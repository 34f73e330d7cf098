"""Leaves: values and interfaces that every layer may name."""
