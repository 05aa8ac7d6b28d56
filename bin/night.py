"""The job night under spark-submit; `fink submit night --dry-run` prints the line."""

from fink_broker.jobs.runner import main

main("night")
