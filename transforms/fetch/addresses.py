"""The address guard: which IP addresses a fetch may connect to.

Lists of URLs are written by strangers. Without a guard, a fetcher inside a data centre reads that
centre's metadata service for whoever writes the right URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA IPv4 Special-Purpose Address Registry, multicast, and the former class E. `is_global` of the
# standard library changed between patch releases, so the registry is written out.
_REFUSED_V4 = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by carriers"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local, metadata services among it"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relays"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarks"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
)
# Platform services that clouds put on public addresses.
_METADATA_V4 = (("168.63.129.16/32", "a metadata service"), ("100.100.100.200/32", "metadata"))
# Only 2000::/3 is given out (IANA); these parts of it are not for hosts.
_GLOBAL_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = (
    ("2001::/23", "reserved for protocols, Teredo among it"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4, which embeds an IPv4 address"),
    ("3fff::/20", "documentation"),
)
_NAMED_V6 = (
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("64:ff9b::/96", "NAT64, which embeds an IPv4 address"),
    ("64:ff9b:1::/48", "local NAT64"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
)

_RULES_V4 = tuple((IPv4Network(net), what) for net, what in (*_METADATA_V4, *_REFUSED_V4))
_RULES_V6 = tuple((IPv6Network(net), what) for net, what in (*_REFUSED_V6, *_NAMED_V6))
_MAPPED, _NAT64, _SIX_TO_FOUR = (
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("64:ff9b::/96"),
    IPv6Network("2002::/16"),
)


def parse_networks(networks: Sequence[str]) -> tuple[Network, ...]:
    """Returns networks in CIDR notation as objects; ValueError for what is none."""
    return tuple(ip_network(network) for network in networks)


def refuse_address(address: Address, allowed: Sequence[Network] = ()) -> str:
    """Returns why an address must not be connected to; empty where it may.

    Args:
        address: what a host name resolved to, or what a connection is about to be made to.
        allowed: networks of the recipe that are let through. One that only embeds IPv4 addresses
            (NAT64, 6to4, IPv4-mapped) lets through no more than the embedded addresses may.
    """
    # A zone (`fe80::1%eth0`) hides an address from networks without one.
    if isinstance(address, IPv6Address) and address.scope_id:
        return f"{address} has a zone, so it is link-local"
    embedded = embedded_address(address)
    if any(address in network for network in allowed):
        return refuse_address(embedded, allowed) if embedded is not None else ""
    rules = _RULES_V4 if isinstance(address, IPv4Address) else _RULES_V6
    for network, what in rules:
        if address in network:
            return f"{address} is {what} ({network})"
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return f"{address} is not given out to hosts (outside {_GLOBAL_V6})"
    return ""


def embedded_address(address: Address) -> IPv4Address | None:
    """Returns the IPv4 address inside an IPv4-mapped, NAT64 or 6to4 address; None for others."""
    if isinstance(address, IPv4Address):
        return None
    if address in _MAPPED or address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return None


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Returns whether a network of the recipe names the address, so that any port will do."""
    return any(address in network for network in allowed) and not refuse_address(address, allowed)
