"""The job ingest under spark-submit; `fink submit ingest --dry-run` prints the line."""

from fink_broker.jobs.runner import main

main("ingest")
