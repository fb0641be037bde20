"""`python -m service` is the command `photogpt-webhooks`."""

from service.cli import main

if __name__ == "__main__":
    main()
