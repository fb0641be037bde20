"""The only package that opens connections to other machines.

`exchange` is one bounded exchange, `transport` is httpx's API with streaming bodies; both stand on the `engine`, which
dials addresses that `lookup` found and `guard` let pass.
"""
