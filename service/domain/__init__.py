"""The rules, as values in and values out: no await, no clock, no framework, no log."""
