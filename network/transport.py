"""HTTP clients: kept-alive HTTP/1.1 connections, proxies and certificates as the environment says.

`httpx` can read the environment itself, but then it also takes passwords out of `~/.netrc` (over the credentials we
were given), loads the certificates before anybody asks for https, and sends requests for this machine to a proxy.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import ssl
from collections.abc import Mapping

import certifi
import httpx

__all__ = ["CONNECT_TIMEOUT_S", "MAY_REPEAT", "NetworkSettingError", "is_loopback", "make_client"]

CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 60.0
"""A tool often runs for longer than the 5 s that httpx keeps a connection."""
KEPT_CONNECTIONS = 4
MAY_REPEAT = "bulkhead.may_repeat"
"""An extension of a request that does no harm if the server gets it twice: it is sent anew where a kept connection
turns out to be closed. Many servers close theirs after 5 s without telling, and the last request may just be on its
way. Not for what is single-use, as a refresh token: the server may have taken the first one after all."""

_PROXY_NAMES = {"http": ("HTTP_PROXY", "ALL_PROXY"), "https": ("HTTPS_PROXY", "ALL_PROXY")}
# Bundles that stand for all trusted certificates, in order of precedence. CODEX_CA_CERTIFICATE adds to them.
_BUNDLE_NAMES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR")
_EXTRA_NAME = "CODEX_CA_CERTIFICATE"


class NetworkSettingError(Exception):
    """What the environment says about proxies or certificates cannot be used."""


def make_client(
    *, user_agent: str, originator: str, environ: Mapping[str, str] | None = None
) -> httpx.AsyncClient:
    """Make a client. It opens nothing before the first request. `environ` is the process's by default.

    Its requests raise NetworkSettingError besides httpx's errors.
    """
    headers = {
        "user-agent": user_agent,
        "originator": originator,
        # A compressed stream would be held back by the compressor.
        "accept-encoding": "identity",
    }
    transport = _Router(dict(os.environ if environ is None else environ))
    return httpx.AsyncClient(transport=transport, headers=headers, trust_env=False)


def tls_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Trust the certificates the environment names, else those of the system, else certifi's.

    Read once a process, and for all that it forks later. Raises `NetworkSettingError` for a file that can not be read.
    """
    return _context(tuple((name, environ.get(name) or "") for name in (*_BUNDLE_NAMES, _EXTRA_NAME)))


@functools.lru_cache(maxsize=4)
def _context(named: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    *bundles, (_, extra) = named
    bundle = next(((name, path) for name, path in bundles if path), None)
    context = _trusting(*bundle) if bundle else _default_context()
    if extra:
        _load(context, _EXTRA_NAME, extra)
    return context


def proxy_for(url: httpx.URL, environ: Mapping[str, str]) -> str | None:
    """Find the proxy for `url`, None for a direct connection. Lower-case names win, as in curl."""
    if is_loopback(url.host):
        return None
    names = _PROXY_NAMES.get(url.scheme, ())
    found = (environ.get(spelling) for name in names for spelling in (name.lower(), name))
    proxy = next((value for value in found if value), None)
    if proxy is None or _bypassed(url, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Router(httpx.AsyncBaseTransport):
    """Makes the transport that an URL needs at its first request, and keeps it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._tls: ssl.SSLContext | None = None
        self._transports: dict[tuple[str | None, bool], httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = proxy_for(request.url, self._environ)
        secure = request.url.scheme == "https" or (proxy or "").startswith("https:")
        transport = self._transports.get((proxy, secure))
        if transport is None:
            transport = self._transports[proxy, secure] = self._made(proxy, secure=secure)
        if request.extensions.get(MAY_REPEAT):
            return await _on_a_live_connection(transport, request)
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()

    def _made(self, proxy: str | None, *, secure: bool) -> httpx.AsyncHTTPTransport:
        if secure and self._tls is None:
            self._tls = tls_context(self._environ)
        # Without https the context is never used; an empty one costs nothing.
        verify = self._tls if secure and self._tls is not None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS, keepalive_expiry=KEEPALIVE_S
        )
        try:
            route = None if proxy is None else self._proxy(proxy)
            return httpx.AsyncHTTPTransport(verify=verify, trust_env=False, proxy=route, limits=limits)
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise NetworkSettingError(
                f"proxy {_without_password(proxy or '')} can not be used: {error}"
            ) from error

    def _proxy(self, url: str) -> httpx.Proxy:
        # httpcore refuses a context for a proxy that is spoken to in the clear.
        return httpx.Proxy(url, ssl_context=self._tls if url.startswith("https:") else None)


class _Opened:
    """Sees, as an extension `trace` of httpcore, whether a connection was made for the request."""

    yes = False

    async def __call__(self, event: str, _: Mapping[str, object]) -> None:
        if event == "connection.connect_tcp.started":
            self.yes = True


async def _on_a_live_connection(
    transport: httpx.AsyncHTTPTransport, request: httpx.Request
) -> httpx.Response:
    """Send `request`, and anew as long as it meets kept connections that the server has closed."""
    for _ in range(KEPT_CONNECTIONS):
        opened = request.extensions["trace"] = _Opened()
        try:
            return await transport.handle_async_request(request)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            if opened.yes:
                raise
    return await transport.handle_async_request(request)


def _bypassed(url: httpx.URL, no_proxy: str) -> bool:
    """Tell whether NO_PROXY names the host: `*`, a domain (with all below it), `host:port`, an address or a network."""
    host = url.host.lower()
    places = {host, f"{host}:{url.port}"} if url.port else {host}
    for entry in no_proxy.lower().replace(" ", ",").split(","):
        name = entry.strip().removeprefix("*.").lstrip(".")
        if not name:
            continue
        if name == "*" or any(place == name or place.endswith(f".{name}") for place in places):
            return True
        if "/" in name and _within(host, name):
            return True
    return False


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _default_context() -> ssl.SSLContext:
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(os.scandir(paths.capath))):
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=certifi.where())


def _trusting(name: str, path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, name, path)
    return context


def _load(context: ssl.SSLContext, name: str, path: str) -> None:
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:
        raise NetworkSettingError(f"{name}={path}: can not read certificates: {error}") from error


def _without_password(proxy: str) -> str:
    scheme, _, rest = proxy.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
