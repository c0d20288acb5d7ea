"""One HTTP request to a host that may be called, blocking, without redirects.

Used by the notify service in worker threads. The name is resolved once, every address it has is judged, and the
connection goes to a judged address: a name that changes its mind between check and use gains nothing. Must not know
what is sent.
"""

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult

from llmcore.errors import Forbidden, LLMCoreError, OutcomeUnknown, Unavailable

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to send where."""

    url: SplitResult
    method: str
    body: bytes | None = None
    """JSON."""
    label: Mapping[str, str] = field(default_factory=dict)
    """Told beside the host in results."""


class Guard:
    """Which hosts may be called."""

    def __init__(self, allowed: Sequence[str]) -> None:
        """Take `host` or `host:port` entries; with none, every public host, and others by address or `localhost`.

        An inner address that is written as such is what the approver saw; a name that leads to one may be a trick.
        """
        self._allowed = frozenset(entry.casefold() for entry in allowed)

    def check_name(self, url: SplitResult) -> str:
        """`host` or `host:port` of an address; Forbidden if it is not listed, or is a number that is not public."""
        name = _name(url)
        if self._allowed and not self._listed(url):
            raise Forbidden(f"{name} is not among the hosts that may be called.", host=name)
        with suppress(ValueError):  # a name: its addresses are judged when it is called
            self.check_address(url, str(ipaddress.ip_address(name.strip("[]"))))
        return f"{name}:{url.port}" if url.port else name

    def check_address(self, url: SplitResult, address: str) -> None:
        """Forbidden unless the address is public, or its host is listed; link-local ones are never called."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if ip.is_link_local or ip.is_multicast or ip.is_unspecified or (ip.is_reserved and not ip.is_loopback):
            raise Forbidden(f"{ip} is an address that is never called.", host=url.hostname)
        if not ip.is_global and not self._listed(url) and (self._allowed or not _plain(url)):
            raise Forbidden(f"{ip} is not public; list its host in the settings to call it.", host=url.hostname)

    def _listed(self, url: SplitResult) -> bool:
        name = _name(url)
        return bool({name, f"{name}:{url.port or _PORTS[url.scheme]}"} & self._allowed)


def _plain(url: SplitResult) -> bool:
    """True if the host is an address itself, or `localhost`."""
    try:
        ipaddress.ip_address(_name(url).strip("[]"))
    except ValueError:
        return _name(url) == "localhost"
    return True


def _name(url: SplitResult) -> str:
    host = (url.hostname or "").rstrip(".")
    return f"[{host}]" if ":" in host else host


def send(request: Request, guard: Guard, timeout_s: float) -> int:
    """Send and return the status if it is 2xx.

    Raises Forbidden, Unavailable where nothing was sent, OutcomeUnknown where no answer came, LLMCoreError with
    `status` for any other answer.
    """
    host = request.url.hostname or ""
    try:
        connection = _connect(request.url, guard, timeout_s)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"{host} could not be reached: {_reason(error)}.", host=host) from None
    try:
        return _exchange(connection, request)
    finally:
        connection.close()


def _exchange(connection: http.client.HTTPConnection, request: Request) -> int:
    host = request.url.hostname or ""
    target = (request.url.path or "/") + (f"?{request.url.query}" if request.url.query else "")
    headers = (
        {"User-Agent": "llmcore", "Content-Type": "application/json"} if request.body else {"User-Agent": "llmcore"}
    )
    try:
        connection.request(request.method, target, request.body, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        # no cause: it may hold the target, and with it a token
        raise OutcomeUnknown(f"{host} did not answer: {_reason(error)}.", host=host) from None
    if 200 <= status < 300:
        return status
    note = "; redirects are not followed" if 300 <= status < 400 else ""
    raise LLMCoreError(f"{host} answered {status}{note}.", host=host, status=status)


def _connect(url: SplitResult, guard: Guard, timeout_s: float) -> http.client.HTTPConnection:
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for found in addresses:
        guard.check_address(url, str(found[4][0]))
    connection = http.client.HTTPConnection(host, port)
    connection.sock = _open(addresses, timeout_s)
    try:
        if url.scheme == "https":
            connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=host)
    except OSError:
        connection.close()
        raise
    return connection


def _open(addresses: Sequence[tuple[Any, ...]], timeout_s: float) -> socket.socket:
    problem: OSError = OSError("it has no address")
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(timeout_s)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            problem = error
        else:
            return connection
    raise problem


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    return (error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__).lower()
