"""`/ops`: the operator's page. What is trained, what does not arrive and why, and the few things to do about it.

Made on the server; what moves is fetched anew by htmx when a stream of events says that something has changed, and
without JavaScript every page and action works as well. It shows all tenants' rows, and never a key, a secret or the
value of a header.
"""

PREFIX = "/ops"
