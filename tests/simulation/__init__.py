"""The whole core under a seeded simulation: time, database, network and crashes are played, everything else is real."""
