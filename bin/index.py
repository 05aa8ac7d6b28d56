"""The job index under spark-submit; `fink submit index --dry-run` prints the line."""

from fink_broker.jobs.runner import main

main("index")
