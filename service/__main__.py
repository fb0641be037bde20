"""The command `photogpt-webhooks`, also as `python -m service`.

What it does is in `cli`; here is only what can't wait for half a second of imports.
"""

import gc
import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["serve"]:
        # Nobody else ends process 1 of a container: without a handler of its own it does not hear SIGTERM.
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    # To look for garbage after every 700 objects, most of which stay, is a tenth of a start.
    gc.set_threshold(10_000)
    # Only now, as it is said above; and not all commands for the one that runs for months.
    if sys.argv[1:] == ["serve"]:
        from service.cli.serving import main as run  # noqa: PLC0415
    else:
        from service.cli.commands import main as run  # noqa: PLC0415
    run()


if __name__ == "__main__":
    main()
