"""The job distribute under spark-submit; `fink submit distribute --dry-run` prints the line."""

from fink_broker.jobs.runner import main

main("distribute")
