"""The documents say what the code does: what is generated is fresh, what is named exists, and what exists is named."""
