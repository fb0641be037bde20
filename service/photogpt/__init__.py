"""The only package that knows PhotoGPT's API."""
