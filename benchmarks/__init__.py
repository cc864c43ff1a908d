"""Measurements against peers and limits; nothing here is a test, and nothing here is installed."""
