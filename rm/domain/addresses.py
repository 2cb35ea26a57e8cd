"""Which addresses this server never calls, whoever asks for it: those that are no host of anybody's network."""

import ipaddress

_EMBEDS_IPV4 = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("64:ff9b:1::/48"), 0),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),
    (ipaddress.IPv6Network("::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)
# Where clouds hand out credentials of the machine: outside the link-local range, so named one by one.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)


def problem(text: str) -> str | None:
    """Why nothing may be sent to this address, or None; loopback and private networks are allowed."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "is no IP address"
    if address.version == 6:
        mapped = address.ipv4_mapped
        if mapped is not None:
            return problem(str(mapped))
        if int(address) not in (0, 1):
            for network, shift in _EMBEDS_IPV4:
                if address in network:
                    found = problem(str(ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF)))
                    if found is not None:
                        return found
        address = ipaddress.IPv6Address(int(address))  # without the zone that a link-local one may carry
    if address in _METADATA:
        return "is the metadata service of a cloud"
    if address.is_link_local:
        return "is a link-local address, where clouds keep credentials"
    if address.is_unspecified or (address.version == 4 and int(address) < 1 << 24):
        return "is no address of a host"
    if address.is_multicast:
        return "is a multicast address"
    if address.version == 4 and int(address) >= 240 << 24:
        return "is a reserved address"
    return None


def literal(host: str) -> str | None:
    """The address that a host of a URL is, or None when it is a name."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None
