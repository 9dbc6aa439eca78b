"""Free ports on loopback that no client's connection takes by chance."""

import random
import socket
from typing import Final

from processor.kafka.local.properties import HOST

#: Below the ranges from which Linux (32768 up) and macOS (49152 up) take the ports of outgoing connections. Inside
#: them, a client that dials a broker that is down can be given the broker's own port, and so keep it from coming back.
_RANGE: Final = range(20_000, 32_000)


def free_ports(count: int) -> tuple[int, ...]:
    """`count` ports that are free now. Another process may take one at any time: be ready to call again."""
    # Not the seeded generator of the tests: two processes with the same seed would meet on the same ports.
    candidates = random.SystemRandom().sample(_RANGE, k=len(_RANGE))
    free = (port for port in candidates if port_error(port) is None)
    return tuple(next(free) for _ in range(count))


def port_error(port: int) -> OSError | None:
    """Why a listener could not open `port`, 1 to 65535, on loopback now; None when one could."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka does: closing connections do not matter
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError as error:
            return error
    return None
