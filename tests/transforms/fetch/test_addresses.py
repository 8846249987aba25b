from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.fetch.addresses import (
    embedded_address,
    is_allowed,
    parse_networks,
    refuse_address,
)

REFUSED = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378::",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "169.253.0.1", "2606:4700:4700::1111"]


@pytest.mark.parametrize("text", REFUSED)
def test_special_addresses_are_refused_and_named(text: str) -> None:
    assert refuse_address(ip_address(text)).startswith(f"{ip_address(text)} ")


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text: str) -> None:
    assert refuse_address(ip_address(text)) == ""


@given(st.integers(0, 2**32 - 1))
def test_every_address_that_the_standard_library_calls_special_is_refused(number: int) -> None:
    address = IPv4Address(number)
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    assert not special or refuse_address(address)


@given(st.integers(0, 2**128 - 1))
def test_no_ipv6_address_outside_the_assigned_space_passes(number: int) -> None:
    address = IPv6Address(number)
    if not refuse_address(address):
        assert number >> 125 == 1
        assert not address.is_private
        assert embedded_address(address) is None


@given(st.integers(0, 2**32 - 1))
def test_embedding_networks_let_through_no_more_than_what_they_embed(number: int) -> None:
    four = IPv4Address(number)
    embeddings = [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address((0x64FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | number << 80),
    ]
    allowed = parse_networks(["::ffff:0:0/96", "64:ff9b::/96", "2002::/16"])
    for six in embeddings:
        assert embedded_address(six) == four
        assert refuse_address(six)
        assert bool(refuse_address(six, allowed)) == bool(refuse_address(four))


@given(st.ip_addresses())
def test_a_network_of_the_recipe_lets_its_addresses_through(address: IPv4Address) -> None:
    allowed = parse_networks(["127.0.0.0/8", "::1/128"])
    if address in allowed[0] or address in allowed[1]:
        assert refuse_address(address, allowed) == ""
        assert is_allowed(address, allowed)
    else:
        assert refuse_address(address, allowed) == refuse_address(address)
        assert not is_allowed(address, allowed)
