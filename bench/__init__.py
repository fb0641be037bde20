"""Measures the gateway as it really starts, beside the naive service and the yardsticks: `python -m bench --help`."""
