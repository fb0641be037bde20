"""What the measured services talk to: a PhotoGPT and receivers that are many times faster than any of them."""
