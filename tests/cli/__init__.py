"""What the command line computes without a gateway; as a person meets it, it is in tests/acceptance."""
