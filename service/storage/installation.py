"""The tables of what an installation keeps about itself; those of its tenants are in `tables`."""

from __future__ import annotations

import datetime as dt
from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary
from sqlmodel import Field, SQLModel

from service.storage.columns import UtcDateTime


class Heartbeat(SQLModel, table=True):
    """One row, written every few seconds: whether the database can be written is only known by writing."""

    __tablename__ = "heartbeats"

    id: int = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)


class CallCount(SQLModel, table=True):
    """How many calls to PhotoGPT of one kind were made on one day (UTC), or what they stand against."""

    __tablename__ = "call_counts"

    day: dt.date = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    count: int = Field(sa_type=BigInteger)


class Keyset(SQLModel, table=True):
    """One row: the installation's own keys, sealed under the master key, whose id comes first. `sealed_at`: since when
    under this master key.
    """

    __tablename__ = "keysets"

    id: int = Field(primary_key=True)
    sealed: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)
    sealed_at: datetime = Field(sa_type=UtcDateTime)
