"""Settings of fetching, and the sources whose media have to be fetched.

Everything that protects others (consent, politeness, the address guard) is on by default; the
recipe can only switch it off by name.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from pydantic import Field, field_validator

from schemas.sources import Section

_PRODUCT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_CONTACT = re.compile(r"[^\s()<>]+@[^\s()<>]+\.[^\s()<>]+|https?://[^\s()<>]+")


class Deadlines(Section):
    """How long one try may take.

    Attributes:
        dns_s, connect_s: seconds for the address, and for the connection with its TLS handshake.
        stall_s: seconds without a byte after which the connection is given up.
        total_s: seconds for all of it, redirects included; a body that drips ends here.
    """

    dns_s: float = Field(default=5, gt=0, le=600)
    connect_s: float = Field(default=5, gt=0, le=600)
    stall_s: int = Field(default=5, ge=1, le=600)
    total_s: float = Field(default=30, gt=0, le=3600)


class Politeness(Section):
    """What one host has to bear.

    Attributes:
        requests_per_s: rate of one host; a longer `Crawl-delay` of its robots.txt wins.
        burst: requests that may come at once before the rate holds.
        connections: requests under way at one host.
        max_retry_after_s: a host that asks for a longer pause is left for a later run.
        breaker_failures: a host that fails so often in a row is left alone; 0 never.
        breaker_s: seconds for which it is.
    """

    requests_per_s: float = Field(default=10, gt=0, le=1e6)
    burst: int = Field(default=10, ge=1, le=1_000_000)
    connections: int = Field(default=6, ge=1, le=10_000)
    max_retry_after_s: float = Field(default=30, ge=0, le=3600)
    breaker_failures: int = Field(default=20, ge=0)
    breaker_s: float = Field(default=60, gt=0, le=86_400)


class Consent(Section):
    """Whose refusal counts. Nothing is downloaded before it has been looked at.

    Attributes:
        robots: honour robots.txt (RFC 9309).
        directives: words of `X-Robots-Tag` and of the robots meta of pages that refuse. `none`
            counts as `noindex`.
        tdm: honour TDM reservation, by header, meta and `/.well-known/tdmrep.json`.
        opt_out: files of domains and URLs that opted out, one a line; `#` starts a comment.
    """

    robots: bool = True
    directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    tdm: bool = True
    opt_out: tuple[str, ...] = ()


class Retries(Section):
    """How often transient failures are tried within one run.

    Attributes:
        attempts: tries in all; 1 never tries again.
        pause_s: seconds before the second try; they double each time, and spread by the URL.
    """

    attempts: int = Field(default=2, ge=1, le=10)
    pause_s: float = Field(default=1, ge=0, le=600)


class Fetch(Section):
    """How media are fetched.

    Attributes:
        fetcher: `mixwright`, or `img2dataset` to hand the downloads to that package, which keeps
            neither the byte cap, nor the total deadline, nor the address guard.
        contact: mail address or URL that hosts can complain to; part of the user agent.
        product: name in the user agent, and the name that robots.txt rules are looked up by.
        connections: requests under way at once, over all hosts.
        dns_threads: address look-ups under way at once.
        dns_ttl_s: seconds for which an address is remembered.
        max_bytes: longer bodies are refused (`fetch_failed_too_large`).
        max_redirects: hops after the first request.
        check_content_type: refuse answers whose `Content-Type` is no image before their body.
        hash_mismatch: whether bytes that miss the expected hash are a reason (`refuse`) or only
            a signal, as in DataComp (`signal`).
        allow_networks: networks (CIDR) that the address guard lets through, on any port.
        allow_ports: ports of all other hosts.
        connect_to: by host name, the `address:port` to connect to instead, as curl's option of the
            same name: for mirrors and tests. The address has to be one of `allow_networks`.
        ca_file: certificates to trust, PEM; those of Mozilla where empty.
    """

    fetcher: Literal["mixwright", "img2dataset"] = "mixwright"
    contact: str
    product: str = "mixwright"
    connections: int = Field(default=256, ge=1, le=4096)
    dns_threads: int = Field(default=32, ge=1, le=256)
    dns_ttl_s: float = Field(default=300, ge=0, le=86_400)
    max_bytes: int = Field(default=32 << 20, ge=1)
    max_redirects: int = Field(default=5, ge=0, le=20)
    check_content_type: bool = True
    hash_mismatch: Literal["refuse", "signal"] = "refuse"
    allow_networks: tuple[str, ...] = ()
    allow_ports: tuple[int, ...] = (80, 443)
    connect_to: dict[str, str] = Field(default_factory=dict)
    ca_file: str = ""
    deadlines: Deadlines = Deadlines()
    politeness: Politeness = Politeness()
    consent: Consent = Consent()
    retries: Retries = Retries()

    def port_of(self, host: str, port: int) -> int:
        """Returns the port to connect to for a URL's host and port: `connect_to` or its own."""
        return int(self.connect_to[host].rpartition(":")[2]) if host in self.connect_to else port

    @property
    def user_agent(self) -> str:
        """The `User-Agent` of every request."""
        return f"{self.product} (+{self.contact})"

    @field_validator("contact")
    @classmethod
    def _check_contact(cls, value: str) -> str:
        if not _CONTACT.fullmatch(value):
            raise ValueError(
                f"contact = {value!r} is neither a mail address nor an http(s) URL; write where "
                "the owner of a host can reach you"
            )
        return value

    @field_validator("product")
    @classmethod
    def _check_product(cls, value: str) -> str:
        if not _PRODUCT.fullmatch(value):
            raise ValueError(
                f"product = {value!r} is no product token; use letters, digits, '-' and '_', "
                "starting with a letter"
            )
        return value

    @field_validator("allow_networks")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(
                    f"allow_networks: {network!r} is no network ({error}); write CIDR, as in "
                    "'127.0.0.0/8'"
                ) from error
        return value

    @field_validator("connect_to")
    @classmethod
    def _check_connect_to(cls, value: dict[str, str]) -> dict[str, str]:
        for host, place in value.items():
            address, _, port = place.rpartition(":")
            try:
                ipaddress.ip_address(address.strip("[]"))
            except ValueError as error:
                raise ValueError(
                    f"connect_to.{host} = {place!r}: {error}; write ADDRESS:PORT"
                ) from error
            if not port.isdecimal() or not 0 < int(port) < 1 << 16:
                raise ValueError(f"connect_to.{host} = {place!r}: {port!r} is no port")
        return value

    @field_validator("allow_ports")
    @classmethod
    def _check_ports(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        for port in value:
            if not 0 < port < 1 << 16:
                raise ValueError(f"allow_ports: {port} is no port; use 1 to 65535")
        return value
