"""Hears the statements of a transaction, as the driver is about to be given them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, Engine, event

from service.storage.transaction import Transaction


@contextmanager
def hearing(where: Connection | type[Engine], heard: Callable[[str, Any], None]) -> Iterator[None]:
    """`heard` gets the text and the parameters of each, of one connection or of all engines."""

    def by_sqlalchemy(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        heard(statement, parameters)

    def by_the_driver(transaction: Transaction, text: str, parameters: tuple[Any, ...]) -> Any:
        if transaction.is_sqlite and (where is Engine or transaction.connection is where):
            heard(text, parameters)
        return run(transaction, text, parameters)

    run = Transaction._run  # there is no other place where all of them pass
    event.listen(where, "before_cursor_execute", by_sqlalchemy)
    try:
        with patch.object(Transaction, "_run", by_the_driver):
            yield
    finally:
        event.remove(where, "before_cursor_execute", by_sqlalchemy)
