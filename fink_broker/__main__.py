"""`python -m fink_broker` is the `fink` command."""

from fink_broker.cli import main

main()
