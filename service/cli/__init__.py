"""The command line. Errors are one line on stderr with the remedy; the exit code says which kind.

`commands` has all commands, and loads typer for them; `serving` is the one that stays.
"""
