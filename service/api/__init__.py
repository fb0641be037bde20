"""Inbound HTTP, `/v1`: converts and delegates. Reads may go straight to a repository, writes never do."""
