"""The job enrich under spark-submit; `fink submit enrich --dry-run` prints the line."""

from fink_broker.jobs.runner import main

main("enrich")
