"""Names without a resolver."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from service.domain.addresses import Address


class PublicNames:
    """Every name is of somebody in the public Internet, but for this machine's own and `nowhere.*`."""

    async def addresses(self, host: str, port: int, *, timeout: float | None) -> list[Address]:
        if host.startswith("nowhere."):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [ip_address("127.0.0.1" if host == "localhost" else "93.184.216.34")]
