"""Where the server listens and whom it lets in by default. Knows no Django: it speaks before the settings are read."""

from __future__ import annotations

import ipaddress
import os
import socket

LISTEN_BACKLOG = 2048


class BindingError(Exception):
    """The server cannot or must not listen there. The text is a sentence for the user."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    # A socket that listens on both families tells IPv4 addresses as ::ffff:127.0.0.1.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def access_is_chosen() -> bool:
    return "MLDIAG_AUTH" in os.environ or "MLDIAG_AUTH_FILE" in os.environ


def default_access(host: str) -> str:
    """Return ``open`` where nobody but this machine can knock, else ``required``."""
    return "open" if is_loopback(host) else "required"


def prepare_environment(host: str) -> None:
    """Set what the settings read, unless the user did. Call it before Django is loaded."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mldiag.settings")
    if not access_is_chosen():
        os.environ["MLDIAG_AUTH"] = default_access(host)


def check_access(host: str, access: str) -> None:
    """Raise BindingError when ``access`` would let strangers in."""
    if access == "open" and not is_loopback(host):
        raise BindingError(
            f"MLDIAG_AUTH=open lets everybody read and write, so it is refused on {host}, which other machines reach."
            " Use --host 127.0.0.1, or MLDIAG_AUTH=required with a login (manage.py createsuperuser) and API keys."
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to ``host`` and ``port`` (0: any free one). Raises BindingError when that is impossible."""
    name = host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise BindingError(f"There is no address {host}: {error.strerror}.") from error
    if os.name == "posix":
        # A server that was just stopped leaves its port waiting; on Windows the option would share a live port.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(LISTEN_BACKLOG)
    except OSError as error:
        bound.close()
        raise BindingError(
            f"Cannot listen on {host}, port {port}: {error.strerror}. Is another server running there?"
            " Choose another port with --port (0 takes any free one)."
        ) from error
    return bound


def url(host: str, bound: socket.socket) -> str:
    """Return the address to open in a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{bound.getsockname()[1]}"
