"""What tests share: servers to run against, ways to wait, foreign verifiers. No tests."""
