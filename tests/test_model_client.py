"""The HTTP client: proxies, certificates, and what it leaves behind in a zygote."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from pathlib import Path

import certifi
import httpx
import pytest
from scripted_http import COMPLETED, CREATED, Answer, ScriptedServer, chunked, collect, run

from network import transport
from network.transport import NetworkSettingError, is_loopback, make_client, proxy_for, tls_context

ROOT = Path(__file__).resolve().parents[1]
FAR = "http://model.invalid/v1"


async def through_proxy(url, environ, *answers):
    async with ScriptedServer(*(answers or (chunked(CREATED, COMPLETED),))) as server:
        filled = {name: value.replace("PORT", str(server.port)) for name, value in environ.items()}
        async with make_client(user_agent="u", originator="o", environ=filled) as client:
            events, raised = await collect(url, client=client, stream_max_retries=0, request_max_retries=0)
        return events, raised, server.requests


@pytest.mark.parametrize(
    "environ", [{"HTTP_PROXY": "http://127.0.0.1:PORT"}, {"all_proxy": "127.0.0.1:PORT"}]
)
def test_http_goes_through_the_proxy(environ):
    _, raised, (seen,) = run(through_proxy(FAR, environ))
    assert raised is None
    assert (seen.method, seen.target) == ("POST", f"{FAR}/responses")


def test_the_proxy_gets_its_password():
    _, _, (seen,) = run(through_proxy(FAR, {"http_proxy": "http://u:p@127.0.0.1:PORT"}))
    assert seen.headers["proxy-authorization"] == "Basic dTpw"


def test_https_asks_the_proxy_for_a_tunnel():
    answer = Answer(b"HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n")
    _, raised, (seen,) = run(
        through_proxy("https://model.invalid/v1", {"HTTPS_PROXY": "http://127.0.0.1:PORT"}, answer)
    )
    assert (seen.method, seen.target) == ("CONNECT", "model.invalid:443")
    assert raised.message.startswith("Connection failed: ")


def test_this_machine_is_reached_directly():
    async def main():
        async with ScriptedServer(chunked(CREATED, COMPLETED)) as server:
            environ = {"HTTP_PROXY": "http://proxy.invalid:1", "ALL_PROXY": "http://proxy.invalid:1"}
            async with make_client(user_agent="u", originator="o", environ=environ) as client:
                return await collect(server, client=client, request_max_retries=0, stream_max_retries=0)

    _, raised = run(main())
    assert raised is None


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("http://h/", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://h/", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://h/", {"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "http://q:1"}, "http://p:1"),
        ("https://h/", {"HTTPS_PROXY": "", "ALL_PROXY": "http://q:1"}, "http://q:1"),
        ("https://h/", {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1"}, "http://low:1"),
        ("http://h/", {"HTTP_PROXY": "p:1", "NO_PROXY": "x, h"}, None),
        ("http://a.h.org/", {"HTTP_PROXY": "p:1", "NO_PROXY": ".h.org"}, None),
        ("http://a.h.org/", {"HTTP_PROXY": "p:1", "NO_PROXY": "*.h.org"}, None),
        ("http://ah.org/", {"HTTP_PROXY": "p:1", "NO_PROXY": "h.org"}, "http://p:1"),
        ("http://h:81/", {"HTTP_PROXY": "p:1", "NO_PROXY": "h:80"}, "http://p:1"),
        ("http://h:81/", {"HTTP_PROXY": "p:1", "no_proxy": "h:81"}, None),
        ("http://10.1.2.3/", {"HTTP_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8"}, None),
        ("http://11.1.2.3/", {"HTTP_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8,,bad/x"}, "http://p:1"),
        ("http://h/", {"HTTP_PROXY": "p:1", "NO_PROXY": "*"}, None),
        ("http://localhost:11434/", {"HTTP_PROXY": "p:1"}, None),
        ("http://[::1]:1/", {"ALL_PROXY": "p:1"}, None),
    ],
)
def test_which_proxy(url, environ, proxy):
    assert proxy_for(httpx.URL(url), environ) == proxy


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.9.9.9", True), ("a.localhost", True), ("localhost.org", False), ("10.0.0.1", False)],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


def test_a_proxy_of_an_unknown_kind():
    events, raised, _ = run(through_proxy(FAR, {"ALL_PROXY": "gopher://u:secret@h:1"}))
    assert events == []
    assert "gopher://h:1" in raised.message
    assert "secret" not in raised.message


# --- certificates --------------------------------------------------------------------------------


def loads(environ):
    return tls_context(environ).cert_store_stats()["x509_ca"]


def one_certificate(tmp_path):
    pem = Path(certifi.where()).read_text()
    path = tmp_path / "one.pem"
    begin = "-----BEGIN CERTIFICATE-----"
    path.write_text(begin + pem.split(begin)[1])
    return str(path)


def test_bundles_replace_and_an_extra_one_adds(tmp_path):
    one = one_certificate(tmp_path)
    assert loads({"SSL_CERT_FILE": one}) == 1
    assert loads({"REQUESTS_CA_BUNDLE": one}) == 1
    assert loads({"SSL_CERT_FILE": one, "REQUESTS_CA_BUNDLE": certifi.where()}) == 1
    assert loads({"SSL_CERT_DIR": str(tmp_path)}) == 0  # a directory is looked at by name, when it is needed
    assert loads({"SSL_CERT_DIR": str(tmp_path), "CODEX_CA_CERTIFICATE": one}) == 1


def test_the_default_checks_names_and_certificates():
    context = tls_context({})
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "CODEX_CA_CERTIFICATE", "REQUESTS_CA_BUNDLE"])
def test_a_file_that_is_not_there(name, tmp_path):
    with pytest.raises(NetworkSettingError, match=f"{name}=.*missing.pem: can not read certificates"):
        tls_context({name: str(tmp_path / "missing.pem")})


def test_certificates_are_loaded_once_and_for_https_only(monkeypatch):
    made = []
    monkeypatch.setattr(
        transport, "tls_context", lambda _environ: made.append(1) or ssl.create_default_context()
    )

    async def speak_no_tls(reader, writer):
        writer.write(b"no TLS")
        await reader.read()
        writer.transport.abort()

    async def main():
        async with (
            ScriptedServer(chunked(CREATED, COMPLETED)) as plain,
            await asyncio.start_server(speak_no_tls, "127.0.0.1", 0) as broken,
            make_client(user_agent="u", originator="o", environ={}) as client,
        ):
            await collect(plain, client=client)
            before = len(made)
            broken_url = f"https://127.0.0.1:{broken.sockets[0].getsockname()[1]}/v1"
            for _ in range(2):
                _, raised = await collect(
                    broken_url, client=client, request_max_retries=0, stream_max_retries=0
                )
                assert raised.message.startswith("Connection failed: ")
            return before, len(made)

    assert run(main()) == (0, 1)


# --- the zygote ----------------------------------------------------------------------------------

ZYGOTE = """
import json, os, sys, threading
import workers.models, uvloop
from workers.models import warm
fds = set(os.listdir('/proc/self/fd'))
threads = len(os.listdir('/proc/self/task'))
workers.models.warm()
report = {
    'fds': sorted(set(os.listdir('/proc/self/fd')) - fds),
    'threads': [threads, len(os.listdir('/proc/self/task')), threading.active_count()],
}
loaded = set(sys.modules)
import asyncio
async def nobody(): return {}
async def turn(base_url, wire_api):
    from workers.models import ModelRequest, Provider, ModelError, make_client, open_stream
    provider = Provider(name='n', base_url=base_url, wire_api=wire_api, request_max_retries=1, stream_max_retries=1)
    async with make_client(user_agent='u', originator='o', environ={}) as client:
        try:
            async for event in open_stream(provider, ModelRequest(model='m'), nobody, client): pass
        except ModelError: pass
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    for url in sys.argv[1:]:
        for api in ('responses', 'chat'):
            runner.run(turn(url, api))
report['late'] = sorted(set(sys.modules) - loaded)
print(json.dumps(report))
"""


def test_a_warm_zygote_imports_nothing_later_and_keeps_nothing_open():
    async def main():
        async with (
            ScriptedServer(chunked(CREATED, COMPLETED)) as good,
            ScriptedServer(Answer(b"HTTP/1.1 429 X\r\nretry-after: 0\r\ncontent-length: 2\r\n\r\n{}")) as bad,
            ScriptedServer(Answer(b"", "close")) as silent,
        ):
            urls = [
                good.base_url,
                good.base_url.replace("127.0.0.1", "localhost"),
                bad.base_url,
                silent.base_url,
            ]
            child = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-W", "error", "-c", ZYGOTE, *urls, "https://127.0.0.1:9/v1"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert child.returncode == 0, child.stderr
            assert child.stderr == ""
            return json.loads(child.stdout)

    report = run(main())
    assert report == {"fds": [], "threads": [1, 1, 1], "late": []}
