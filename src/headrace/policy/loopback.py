"""Which names and addresses mean this machine itself."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether ``host`` can only be this machine.

    Args:
        host: A name or an IP address, IPv6 without brackets, any case.

    True for ``localhost`` and what ends in ``.localhost`` (RFC 6761 6.3), 127.0.0.0/8 and ::1. Shortened forms of IPv4
    such as ``127.1`` are left out: programs disagree on what they mean.
    """
    name = host.lower()
    if name == "localhost" or (name.endswith(".localhost") and not name.startswith(".")):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    # An IPv4 address written as IPv6 is left out too: no browser sends it for a loopback page.
    return address.is_loopback and (address.version == 4 or address == ipaddress.IPv6Address("::1"))
