"""One module per revision, oldest first. A published revision is never changed."""
