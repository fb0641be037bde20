"""First half: train request -> watched training -> status change -> outbox. Knows nothing of how webhooks are sent."""
