"""The only package that knows SQL. Repositories never commit: `Database.transaction` does."""
