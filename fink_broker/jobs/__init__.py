"""The streaming jobs: each is a source, steps and sinks, and nothing else (see plans.py)."""
