"""Addresses that this server never calls."""

import pytest

from rm.domain import addresses


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::9", "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe", "64:ff9b::169.254.169.254", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1",
        "::169.254.169.254", "::ffff:0:a9fe:a9fe",
        "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255",
        "localhost", "", "0x7f000001",
    ],
)  # fmt: skip
def test_an_address_where_no_service_of_anybody_lives_is_refused(address: str) -> None:
    assert addresses.problem(address) is not None


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.9", "172.16.0.1", "100.64.0.9", "fd12:3456::1", "93.184.216.34",
     "2606:2800:220:1::1", "::ffff:192.168.1.9", "64:ff9b::8.8.8.8"],
)  # fmt: skip
def test_a_service_on_this_machine_in_the_own_network_or_on_the_internet_is_allowed(address: str) -> None:
    assert addresses.problem(address) is None


def test_what_a_url_names_is_an_address_only_if_it_is_one() -> None:
    assert addresses.literal("[fe80::1]") == "fe80::1"
    assert addresses.literal("ntfy.example.net") is None
