"""Fink: an alert broker for astronomical surveys on Spark Structured Streaming."""

__version__ = "0.1.0"
