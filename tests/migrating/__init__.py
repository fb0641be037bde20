"""docs/migrating.md and docs/samples: code that is written for PhotoGPT, and what becomes of it, run as it stands."""
