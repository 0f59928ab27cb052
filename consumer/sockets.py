"""Has the kernel find out within seconds that a TCP connection leads nowhere any more.

Firewalls, load balancers and failovers drop connections without a word. Then nothing comes, and
without this what waits for an answer waits until its own, much longer deadline.
"""

import socket
from asyncio import BaseTransport

_IDLE_SECONDS = 2
_INTERVAL_SECONDS = 1
_PROBES = 3
# How long what we sent may go unacknowledged (tcp(7), TCP_USER_TIMEOUT): some four retransmissions.
_UNACKNOWLEDGED_MS = 3000


def end_when_silent(transport: BaseTransport) -> None:
    """Let the connection end when its peer acknowledges nothing for three seconds.

    Probes without data go out while nothing is said, which is most of a long poll.
    """
    link = transport.get_extra_info("socket")
    if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL_SECONDS)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
    if idle is not None:  # macOS has the second name
        link.setsockopt(socket.IPPROTO_TCP, idle, _IDLE_SECONDS)
    unacknowledged = getattr(socket, "TCP_USER_TIMEOUT", None)
    if unacknowledged is not None:  # Linux alone has it
        link.setsockopt(socket.IPPROTO_TCP, unacknowledged, _UNACKNOWLEDGED_MS)
