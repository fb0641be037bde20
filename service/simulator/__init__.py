"""A PhotoGPT to train against and a receiver of webhooks, for the demo and the tests; imports nothing else of ours."""
