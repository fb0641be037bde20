"""The tests, in folders that mirror `service/`; what several of them need stands in `tests.support`."""
