"""URLs as lists write them, made into the one form that is asked for.

The parts are taken apart once, checked, and put together again: the wire never sees a URL that it
could read in another way than the guard did.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urljoin, urlsplit

import idna

from schemas.reasons import Reason
from transforms.fetch.addresses import Address
from transforms.fetch.records import RefusedError

MAX_URL_CHARACTERS = 32 << 10

DEFAULT_PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\[\]/\\]+)(:(?P<port>[0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
# What white space and control characters browsers take out, wherever they stand.
_DROPPED = str.maketrans("", "", "\t\r\n")
_SAFE_PATH = "!$%&'()*+,/:;=@~-._"
_SAFE_QUERY = _SAFE_PATH + "?[]|^`{}\\"


@dataclass(frozen=True, slots=True)
class FetchUrl:
    """A URL that may be asked for, as far as its text tells.

    Attributes:
        scheme: `http` or `https`.
        host: lower case, IDNA (RFC 5891) applied, no final dot; an address without brackets.
        port: the port, the scheme's where the URL names none.
        target: path and query, percent-encoded, starting with `/`.
        address: the address, where the host is one.
    """

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None

    @property
    def origin(self) -> str:
        """Scheme, host and port, as in `https://example.org`; the key of robots.txt."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def text(self) -> str:
        """The whole URL."""
        return self.origin + self.target

    def join(self, location: str) -> FetchUrl:
        """Returns where a redirect from here leads; see `parse_url` for what it raises."""
        cleaned = location.strip()
        try:
            joined = urljoin(self.text, cleaned)
        except ValueError as error:
            raise _malformed(cleaned, "the redirect cannot be joined") from error
        return parse_url(joined)


def parse_url(text: str) -> FetchUrl:
    """Returns a URL in the form that is asked for.

    Spaces, control characters and letters outside ASCII are percent-encoded as UTF-8, the fragment
    goes, host names become IDNA, and the odd ways to write IPv4 addresses (`0x7f.1`) plain ones.

    Raises:
        RefusedError: `fetch_failed_blocked_address` for another scheme and for credentials,
            `row_malformed` for what is no URL.
    """
    text = text.strip().translate(_DROPPED)
    scheme, rest = _split_scheme(text)
    try:
        parts = urlsplit(f"{scheme}:{rest}")
    except ValueError as error:
        raise _malformed(text, str(error)) from error
    if "@" in parts.netloc:
        raise _blocked("the URL carries credentials")
    authority = _AUTHORITY.fullmatch(parts.netloc)
    if authority is None:
        raise _malformed(text, "its host cannot be read")
    port = int(authority["port"] or DEFAULT_PORTS[scheme])
    if not 0 < port < 1 << 16:
        raise _malformed(text, "its port is out of range")
    try:
        host, address = _parse_host(authority["host"])
    except (ValueError, OSError) as error:
        raise _malformed(text, "its host is no host name") from error
    target = quote(_dotless(parts.path) or "/", safe=_SAFE_PATH, errors="replace")
    if parts.query:
        target += "?" + quote(parts.query, safe=_SAFE_QUERY, errors="replace")
    return FetchUrl(scheme, host, port, _encode_stray_percents(target), address)


def _split_scheme(text: str) -> tuple[str, str]:
    """Returns the scheme, in lower case, and what comes after its colon."""
    if len(text) > MAX_URL_CHARACTERS:
        raise _malformed(text, f"it has more than {MAX_URL_CHARACTERS} characters")
    match = _SCHEME.match(text)
    if match is None:
        raise _malformed(text, "it has no scheme")
    scheme, rest = match[1].lower(), text[match.end() :]
    if scheme not in DEFAULT_PORTS:
        raise _blocked(f"scheme {scheme!r} is not fetched; only http and https are")
    if not rest.startswith("//"):
        raise _malformed(text, "it has no host")
    return scheme, rest


def _parse_host(host: str) -> tuple[str, Address | None]:
    """Returns a host in canonical form, and its address where it is one.

    Raises:
        ValueError, OSError: it is neither a name nor an address.
    """
    if host.startswith("["):
        six = IPv6Address(host[1:-1])
        return str(six), six
    # IDNAError is a ValueError.
    name = host if host.isascii() else idna.encode(host, uts46=True).decode()
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(name)
    # A last label that is a number makes it an IPv4 address (WHATWG URL, section 3.5), in any of
    # the notations of inet_aton.
    if _NUMBER.fullmatch(labels[-1]):
        four = IPv4Address(socket.inet_aton(name))
        return str(four), four
    return name, None


def _dotless(path: str) -> str:
    """Returns a path without `.` and `..` segments (RFC 3986, section 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _encode_stray_percents(target: str) -> str:
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", target)


def _blocked(error: str) -> RefusedError:
    return RefusedError(Reason.FETCH_FAILED_BLOCKED_ADDRESS, error)


def _malformed(text: str, problem: str) -> RefusedError:
    return RefusedError(Reason.ROW_MALFORMED, f"{text[:200]!r} is no URL to fetch: {problem}")
