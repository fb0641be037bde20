"""docs/receiving.md and the receivers in docs/receivers, each run as its readers would run it."""
