"""`make docs`: writes what is generated in docs/."""

from tests.docs.generated import write

write()
