"""Second half: outbox -> signed POST -> receiver. Knows nothing of how trainings are watched."""
