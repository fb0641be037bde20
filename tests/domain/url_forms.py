"""URLs that the grammar refuses, by what is wrong with them; and for each group its allowed neighbours in their
canonical spelling, so that refusing everything would not pass.
"""

from __future__ import annotations

from dataclasses import dataclass

LABEL_63 = "a" * 63
NAME_253 = ".".join([LABEL_63] * 3 + ["b" * 57 + ".com"])
LONGEST = "https://example.com/" + "a" * 2028
KELVIN = "\N{KELVIN SIGN}"


@dataclass(frozen=True)
class Group:
    """`problem`: a piece of the sentence that the caller gets."""

    problem: str
    refused: tuple[str, ...]
    allowed: tuple[str, ...]


def hosts(text: str) -> tuple[str, ...]:
    return tuple(f"https://{host}/" for host in text.split())


PLAIN = "not a plain absolute URL"
HOST_OR_PORT = "host or port that is not plainly written"

GROUPS = {
    "no absolute URL": Group(
        PLAIN,
        (
            *("", " ", "/hook", "//example.com", "example.com", "example.com:443"),
            *("https", "https:", "://example.com"),
            *("https:example.com", "https:/example.com", "https//example.com", "h2+https://example.com", "?", "#"),
            *("javascript:alert(1)", "data:text/plain,x", "mailto:a@example.com"),
            *("localhost:8080/x", "https;//a.example"),
        ),
        ("https://example.com/", "https://example.com/example.com:443"),
    ),
    "scheme": Group(
        "must begin with https://",
        (
            *("ftp://example.com", "ws://example.com", "wss://example.com"),
            *("file:///etc/passwd", "dict://127.0.0.1:11211/x"),
            *("gopher://127.0.0.1:25/x", "httpss://example.com", "xhttps://example.com"),
            *("ldap://a.example", "unix://x/y"),
        ),
        ("https://example.com/ftp://example.com", "https://ftp.example.com/", "https://file.example/etc/passwd"),
    ),
    "dots": Group(
        "'.' or '..' segment",
        (
            *("https://example.com/a/../b", "https://example.com/./b"),
            *("https://example.com/a/..", "https://example.com/."),
            *("https://example.com/a/%2e%2E/b", "https://example.com/.%2e/"),
            *("https://example.com/%2e", "https://a.b/%2E."),
        ),
        (
            *("https://example.com/a../.b/...", "https://example.com/?a/../b", "https://example.com/.well-known/x"),
            "https://example.com/%2ea",
        ),
    ),
    "no host": Group(
        HOST_OR_PORT,
        ("https://", "https:///hook", "https://?x", "https://:443", "https://:443/x", "https:////example.com"),
        ("https://example.com//hook", "https://a.b/"),
    ),
    "characters of a host": Group(
        HOST_OR_PORT,
        (
            *hosts("example.com,evil.example *.example.com a_b.example example.com;.evil.example"),
            *hosts("a!b.example a~b.example"),
            *hosts("$a.example a&b.example 'a'.example (a).example a+b.example a=b.example [a].example a]b.example"),
        ),
        hosts("a-b.example example.com-evil.example a--b.example r3---sn.example"),
    ),
    "percent in a host": Group(
        HOST_OR_PORT,
        (
            *hosts("example%2Ecom %31%32%37.0.0.1 %6c%6f%63%61%6c%68%6f%73%74"),
            *hosts("example.com%00.evil.example a%2f.example"),
            *hosts("example.com%40evil.example example.com%23.evil.example"),
            *hosts("%e2%91%a0.example 127.0.0.1%2f.evil.example"),
            *hosts("example.com%5c.evil.example example.com%3a443 %5b::1%5d example.com:%34%34%33"),
            *hosts("example.com% %.example"),
        ),
        ("https://example.com/%31%32%37.0.0.1", "https://example.com/?%40%00", "https://a.example/%5C%0D%0A%00"),
    ),
    "user": Group(
        "user name or password",
        (
            *hosts("user@example.com user:password@example.com @example.com :@example.com"),
            *hosts("example.com@127.0.0.1 a@b@c.example"),
            *hosts("example.com:443@127.0.0.1 127.0.0.1@example.com localhost:80@example.com %40@example.com"),
            *hosts("user@ @ [::1]@a.b"),
            *hosts("example.com&@127.0.0.1 1.1.1.1;@10.0.0.1 a%20@example.com metadata.google.internal@example.com"),
        ),
        ("https://example.com/user@host:80", "https://example.com/?to=http://user@127.0.0.1", "https://example.com/@"),
    ),
    "backslashes": Group(
        PLAIN,
        (
            *("https:\\\\example.com", "https://127.0.0.1\\@example.com"),
            *("https://example.com\\@127.0.0.1", "https:/\\a.example"),
            *("https://example.com\\x", "https://example.com\\.evil.example"),
            *("https://example.com/\\", "\\\\example.com\\x"),
        ),
        ("https://example.com/%5C", "https://example.com/?%5c"),
    ),
    "blanks, quotes and control characters": Group(
        PLAIN,
        (
            *(" https://example.com", "https://example.com ", "https://exa mple.com", "https://example.com/a b"),
            *("https://example.com\n", "https://example.com/\r\nhost: evil.example"),
            *("https://exam\nple.com", "\thttps://a.b"),
            *("https://example.com/\t", "https://example.com/\x00"),
            *("https://example.com/\x7f", "https://example.com/\x85"),
            *("https://exam\tple.com", "ht\ntps://example.com"),
            *("https:\t//example.com", "https://127.0.0.1\r.example.com"),
            *("https://example.com\x00.evil.example", "https://example.com/\x1b[0m"),
            *("https://a.b/\x0b", "https://a.b/\x0c"),
            *('https://example.com/"', "https://example.com/<x>"),
            *("https://example.com/{x}", "https://example.com/a|b"),
            *("https://example.com/`x`", "https://example.com/^", "<https://example.com>", '"https://example.com"'),
        ),
        ("https://example.com/!$&'()*+,;=:@~-._", "https://example.com/%20%22%3C", "https://a.example/[x]?[y]"),
    ),
    "other alphabets and look-alikes": Group(
        PLAIN,
        (
            *("https://bücher.example", "https://example.com/bücher"),
            *("https://faß.example", "https://ex\u00e4mple.com"),
            *("https://\uff45xample.com", "https://example\u3002com"),
            *("https://example\uff0ecom", "https://example\uff61com"),
            *("https://\u2460\u2461\u2466.0.0.1", "https://\uff11\uff12\uff17.0.0.1"),
            *("https://127\uff0e0.0.1", "https://127.0.0.\u00b9"),
            *("https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",),
            *("https://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",),
            *("https://exam\u00adple.com", "https://exam\u200bple.com"),
            *("https://exam\u200dple.com", "https://\u202eexample.com"),
            *("https://example.com\u2028", "https://\u0435xample.com"),
            *("https://example.com:\uff14\uff14\uff13", "\ufeffhttps://a.b"),
            *("http\u017f://example.com", "https://\ud800.example"),
            *(f"https://{KELVIN}.example", "https\uff1a//example.com"),
            *("https:\uff0f\uff0fexample.com", "https://example.com\uff0f.evil.example", "https://a\u2100b.example"),
            *("https://\u0661\u0662\u0667.0.0.1", "https://\U0001f600.example"),
            *("https://[\uff1a\uff1a1]", "https://\u2488.example"),
        ),
        hosts("xn--bcher-kva.example xn--n3h.example xn--xample-9uf.com xn--fiqs8s.xn--p1ai k.example"),
    ),
    "numbers that some parsers take for an address": Group(
        "neither a name nor a plain IPv4",
        (
            *hosts("127.1 127.0.1 0x7f.1 0x7f.0.0.1 0x7f000001 0X7F000001 2130706433 017700000001"),
            *hosts("0177.0.0.1 127.0.0.01 0 1 00"),
            *hosts("127.0.0.1x 1.2.3 1.2.3.4.5 256.1.1.1 1.1.1.256 example.1 example.0x1 0.0.0.0.0"),
            *hosts("4294967296 4294967297 1e3 0x"),
            *hosts("99999999999999999999 0x100000000 0o177.0.0.1 0b1 example.com.1 a.1a"),
            *hosts("1.1.1.1e0 127.0.0.0x1 000.000.000.000"),
        ),
        (
            *hosts("1.1.1.1 1.example.com 127.0.0.1.example.com 0x7f.example.com"),
            *hosts("example.c0m example.x1 2130706433.example"),
        ),
    ),
    "a dot at the end": Group(
        "ends in a dot",
        (
            *hosts("localhost. example.com. example.com.. 127.0.0.1. 1.1.1.1. 2130706433."),
            *hosts("0x7f.1. intranet. metadata.google.internal."),
        ),
        hosts("example.com 1.1.1.1"),
    ),
    "names": Group(
        "malformed host name",
        (
            *hosts(". .example.com example..com ..a -example.com example-.com example.-com"),
            *hosts("example.com- - -.- xn--.example"),
            *hosts(f"{LABEL_63}a.com {NAME_253[:-4]}b.com a.{LABEL_63}a .localhost"),
        ),
        (*hosts(f"a.b sub-domain.example.co.uk {LABEL_63}.com {NAME_253} x-n--a.example a.{LABEL_63}"),),
    ),
    "port numbers": Group(
        "port outside 1 to 65535",
        hosts("example.com:0 example.com:00000 example.com:65536 example.com:99999 [2606:4700::1]:0 1.1.1.1:70000"),
        hosts("example.com:1 example.com:65535 [2606:4700::1]:8443 1.1.1.1:444 example.com:80 example.com:8443"),
    ),
    "port texts": Group(
        HOST_OR_PORT,
        (
            *hosts("example.com: example.com:000443 example.com:-1 example.com:+443"),
            *hosts("example.com:4_43 example.com:0x1bb"),
            *hosts("example.com:https example.com:80:443 example.com:443: 1.1.1.1:"),
            *hosts("[2606:4700::1]: example.com::443 a.b:1.0"),
        ),
        hosts("example.com:8443 [2606:4700::1]:444"),
    ),
    "IPv6 and what is round it": Group(
        HOST_OR_PORT,
        (
            *hosts("[::1%25lo] [fe80::1%25eth0] [fe80::1%eth0] [::1%lo]"),
            *hosts("[2606:4700::1%251] [fe80::1%25] [fe80::1%25eth0]:443"),
            *hosts("2606:4700:4700::1111 [2606:4700:4700::1111 2606:4700:4700::1111] [2606:4700:4700::1111]x"),
            *hosts("::1 :: [::1]]"),
            *hosts("[2606:4700:4700::1111]443 [[::1]] [] [v1.x] [example.com]"),
            *hosts("[v7.1:2] [::1]a.example a.example[::1]"),
        ),
        hosts("[2606:4700:4700::1111] [2606:4700:4700::1111]:444 [2a00:1450:4001:82a::200e]"),
    ),
    "IPv6": Group(
        "malformed IPv6",
        (
            *hosts("[::1::] [12345::] [1:2:3] [127.0.0.1] [1.1.1.1] [::127.0.0.01] [:::]"),
            *hosts("[:] [.] [1:2:3:4:5:6:7:8:9] [::256.1.1.1]"),
            *hosts("[::127.1] [::0177.0.0.1] [1::2::3] [2606:4700:1] [:1] [1:] [2606.4700::1] [1.1.1.1::]"),
        ),
        hosts("[2001:4860:4860::8888] [2620:fe::9] [2000::]"),
    ),
    "IPv4 mapped into IPv6": Group(
        "IPv4 address inside an IPv6 one",
        (
            *hosts("[::ffff:1.1.1.1] [::ffff:7f00:1] [::FFFF:127.0.0.1] [0:0:0:0:0:ffff:a9fe:a9fe]"),
            *hosts("[::ffff:0:0] [::ffff:10.0.0.1]"),
            *hosts("[0000:0000:0000:0000:0000:FFFF:127.0.0.1] [::0:ffff:8.8.8.8] [::ffff:ffff:ffff]:8080"),
        ),
        hosts("[2606:4700:4700::1111] [2a00::ffff:101:101]"),
    ),
    "what is never sent": Group(
        "fragment",
        (
            *("https://example.com/#", "https://example.com#x"),
            *("https://example.com/?a#b", "https://example.com#@127.0.0.1"),
            *("https://example.com#.evil.example/", "https://127.0.0.1#@example.com/", "https://#@example.com"),
        ),
        ("https://example.com/%23", "https://example.com/?%23@127.0.0.1"),
    ),
    "length": Group(
        "longer than 2048",
        (LONGEST + "a", "https://" + "a." * 500_000, "\x00" * 3000, "https://example.com/?" + "a=b&" * 600),
        (LONGEST, "https://example.com/?" + "a=b&" * 500),
    ),
}  # fmt: skip

# As given, and as stored.
SPELLINGS = [
    ("https://example.com", "https://example.com/"),
    ("HTTPS://EXAMPLE.COM/Hook", "https://example.com/Hook"),
    ("hTtPs://Example.Com", "https://example.com/"),
    ("https://example.com?x=1", "https://example.com/?x=1"),
    ("https://example.com/?", "https://example.com/?"),
    ("https://example.com/a?b?c", "https://example.com/a?b?c"),
    ("https://example.com/a/b;c=d?e=f&g=%20", "https://example.com/a/b;c=d?e=f&g=%20"),
    ("https://example.com//a///b/", "https://example.com//a///b/"),
    ("https://example.com/%c3%A9", "https://example.com/%c3%A9"),
    ("https://XN--Bcher-KVA.Example", "https://xn--bcher-kva.example/"),
    ("https://example.com:443/x", "https://example.com/x"),
    ("https://example.com:00443/x", "https://example.com/x"),
    ("https://example.com:08443", "https://example.com:8443/"),
    ("https://example.com:80", "https://example.com:80/"),
    ("https://1.1.1.1:443", "https://1.1.1.1/"),
    ("https://[2606:4700:4700:0:0:0:0:1111]:443/x", "https://[2606:4700:4700::1111]/x"),
    ("https://[2606:4700:4700:0000::1111]:8443", "https://[2606:4700:4700::1111]:8443/"),
    ("https://[2606:4700:4700::ABCD]", "https://[2606:4700:4700::abcd]/"),
    ("https://[2606:4700::1.2.3.4]", "https://[2606:4700::102:304]/"),
    ("https://[2606:4700:0:0:1:0:0:1]", "https://[2606:4700::1:0:0:1]/"),
]
