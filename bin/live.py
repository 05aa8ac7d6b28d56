"""The job live under spark-submit; `fink submit live --dry-run` prints the line."""

from fink_broker.jobs.runner import main

main("live")
