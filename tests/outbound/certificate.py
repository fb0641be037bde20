"""A certificate authority of the tests' own."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from service.outbound.connector import tls_context

_BEGINS = datetime(2020, 1, 1, tzinfo=UTC)


class Authority:
    """Certifies names and addresses; `context` trusts it, beside the machine's own trust store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("the tests' authority")
        certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, SHA256())
        )
        self._path = folder / "authority.pem"
        self._path.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.context: ssl.SSLContext = tls_context()
        self.context.load_verify_locations(self._path)

    def server_side(self, host: str) -> ssl.SSLContext:
        """For a server that is `host`, a name or an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        is_address = host[-1].isdigit() or ":" in host
        subject = x509.IPAddress(ip_address(host)) if is_address else x509.DNSName(host)
        certificate = (
            self._builder(_name(host), key)
            .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
            .sign(self._key, SHA256())
        )
        path = self._folder / f"{host.replace(':', '-')}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGINS)
            .not_valid_after(_BEGINS + timedelta(days=36500))
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
