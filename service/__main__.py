"""The command `photogpt-webhooks`, also as `python -m service`.

What it does is in `cli`; here is only what can't wait for half a second of imports.
"""

import gc
import signal
import sys


def main() -> None:
    """Run the command line."""
    serving = sys.argv[1:2] == ["serve"]
    if serving:
        # Nobody else ends process 1 of a container: without a handler of its own it does not hear SIGTERM.
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    # What is loaded stays: to look for garbage meanwhile is a tenth of every start.
    gc.disable()
    from service.cli import main as run  # noqa: PLC0415  # only now: see above

    if not serving:  # the server has more to load, and does this itself
        gc.enable()
    run()


if __name__ == "__main__":
    main()
