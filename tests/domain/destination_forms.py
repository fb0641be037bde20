"""Ways to write a private destination, and the public neighbours that have to stay open."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address


def words(text: str) -> list[str]:
    return text.split()


# Public addresses too: a spelling is refused because it is one, not for where it leads today.
WRITTEN = [IPv4Address(text) for text in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.10.20", "8.8.8.8")]

PRIVATE_IPV4 = words("""
    0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255
    127.0.0.1 127.0.0.2 127.1.1.1 127.255.255.255 168.63.129.16 169.254.0.0 169.254.169.254 169.254.170.2
    169.254.255.255 172.16.0.0 172.17.0.1 172.31.255.255 192.0.0.0 192.0.0.9 192.0.0.192 192.0.0.255 192.0.2.0
    192.0.2.255 192.88.99.0 192.88.99.255 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.0
    198.51.100.255 203.0.113.0 203.0.113.255 224.0.0.1 239.255.255.250 240.0.0.1 254.255.255.255 255.255.255.255
""")
PUBLIC_IPV4 = words("""
    1.0.0.0 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15
    168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.1.255
    192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255
    198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
""")
PRIVATE_IPV6 = words("""
    :: ::1 ::2 ::127.0.0.1 ::10.0.0.1 ::ffff:0:127.0.0.1 ::fffe:7f00:1 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1
    64:ff9b::8.8.8.8 64:ff9b:1::1 64:ff9b:1:a00:0:100:: 100::1 1::1 1fff:ffff:: 2001::1 2001:0:7f00:1::
    2001:0:808:808::f5ff:fffe 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff:: 2001:db8::1 2001:db8:ffff::
    2002:7f00:1:: 2002:a00:1::1 2002:a9fe:a9fe:: 2002:808:808:: 3fff::1 3fff:fff:ffff:: 4000::1 5f00::1 6000::1
    8000::1 e000::1 fc00::1 fd00::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:42::42 fdff::1 fe00::1 fe80::1
    fe80::a9fe:a9fe febf::1 fec0::1 feff::1 ff02::1 ff0e::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    2a00:1::5efe:10.0.0.1 2a00:1::200:5efe:127.0.0.1 2a00:1::5efe:169.254.169.254
""")
PUBLIC_IPV6 = words("""
    2000::1 2000:ffff::1 2001:200::1 2001:db7:ffff::1 2001:db9::1 2001:4860:4860::8888 2003::1 2606:4700:4700::1111
    2620:fe::fe 2a00:1450:4001:82a::200e 2a00:1::5eff:10.0.0.1 2c0f:fb50::1 3ffe:ffff::1 3fff:1000::1
""")
PRIVATE_NAMES = words("""
    localhost LOCALHOST foo.localhost a.b.localhost local printer.local kubernetes.default.svc.cluster.local
    hook.default.svc svc internal gateway.internal ip-10-0-0-1.eu-west-1.compute.internal host.docker.internal
    vault.service.internal lan router.lan home.arpa nas.home.arpa localdomain localhost.localdomain
    a.localdomain x.onion receiver.test test invalid x.invalid intranet receiver web db-1 localhost4 a com ip6-localhost
    metadata metadata.google.internal METADATA.GOOGLE.INTERNAL metadata.goog instance-data instance-data.ec2.internal
    metadata.azure.internal metadata.tencentyun.com metadata.packet.net metadata.platformequinix.com xn--a
""")
PUBLIC_NAMES = words("""
    example.com localhost.example.com local.example.com metadata.google.internal.example.com notlocal.example
    mylocalhost.example x.locals x.svcs a.internals x.lans home.arpa.example metadata.example x.testing tests.example
    my.metadata.goog.example in-valid.example onion.example a.b 127.0.0.1.example.com xn--n3h.example homearpa.example
    tencentyun.com www.packet.net arpa.example x.home-arpa x.local-internal
""")


def odd_spellings(address: IPv4Address) -> Iterator[str]:
    """What some resolver, browser or library takes for `address`, and is not how an IPv4 address is written."""
    number = int(address)
    a, b, c, d = address.packed
    yield from (f"{number}", f"{number:#x}", f"{number:#X}", f"{number:#010x}", f"0{number:o}", f"00{number:o}")
    yield from (f"{a}.{number % 2**24}", f"{a}.{b}.{number % 2**16}", f"{number + 2**32}", f"0{number}")
    yield from (
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"{a:#x}.{b}.{c}.{d}",
        f"{a}.{b}.{c}.{d:#x}",
        f"{a:#x}.{number % 2**24:#x}",
    )
    yield from (
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a:04o}.{b}.{c}.{d}",
        f"{a}.{b}.{c}.0{d:o}",
        f"0{a:o}.{number % 2**24}",
    )
    yield from (f"{a:03}.{b:03}.{c:03}.{d:04}", f"{a}.{b}.{c}.{d}.", f"{a + 256}.{b}.{c}.{d}", f"{a}.{b}.{c}.{d + 256}")
    yield from (f"{a}..{b}.{c}.{d}", f".{address}", f"{address}.0", f"{a},{b},{c},{d}", f"+{address}", f"-{address}")
    yield from (f"%{ord(str(a)[0]):x}{str(address)[1:]}", f"{a}%2e{b}%2E{c}.{d}", f"{address}%00", f"{address}%20")
    yield str(address).translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    yield str(address).translate({ord("0") + digit: 0x245F + digit for digit in range(1, 10)})
    yield str(address).translate({ord("0") + digit: 0x0660 + digit for digit in range(10)})
    yield from (str(address).replace(".", "\u3002"), str(address).replace(".", "\uff0e", 1), f"{address}\u00ad")
    yield from (f"[{address}]", f"[::ffff:{address}]", f"[::FFFF:{IPv6Address(number).compressed[2:]}]", f"{address}\t")
    yield from (
        f"[0:0:0:0:0:ffff:{address}]",
        f"[{IPv6Address(0xFFFF << 32 | number).exploded}]",
        f"[::{address}%25lo]",
    )
    yield from (f"user@{address}", f"example.com@{address}", f"example.com\\@{address}", f"{address}\\@example.com")
    yield from (f"{address}#@example.com", f"example.com#@{address}", f"{address}\r\n", f" {address}", f"{address}:")


def wrapped(address: IPv4Address) -> Iterator[str]:
    """IPv6 addresses with `address` inside, in brackets: well written, and by some mechanism a way to it."""
    number = int(address)
    high, low = number >> 16, number & 0xFFFF
    yield from (f"[::{address}]", f"[::ffff:0:{address}]", f"[64:ff9b::{address}]", f"[64:FF9B::{high:X}:{low:X}]")
    yield from (f"[0064:ff9b:0:0:0:0:{high:04x}:{low:04x}]", f"[64:ff9b:1::{address}]", f"[64:ff9b:1:ffff::{address}]")
    yield from (f"[2002:{high:x}:{low:x}::]", f"[2002:{high:X}:{low:X}:0:0:0:0:1]", f"[2001:0:{high:x}:{low:x}::1]")
    yield from (f"[2001::{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]", f"[fe80::5efe:{address}]", f"[2a00:1::5efe:{address}]")
    yield from (f"[2a00:1:2:3:200:5efe:{high:x}:{low:x}]", f"[fd00::{address}]", f"[fec0::{address}]")
