"""`python -m otoscribe`."""

from otoscribe.cli.main import main

main()
