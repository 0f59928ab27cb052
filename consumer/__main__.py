"""`python -m consumer`, the same as `consumer`."""

from consumer.cli import main

main()
