"""TLS, proxies and credentials: what stands between the transport and the queue."""

import asyncio
import ipaddress
import json
import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, cast

import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import ClientError, CredentialRetrievalError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from consumer.errors import QueueError, QueueRefusedError, SettingsError
from consumer.sqs.client import AiobotocoreTransport, SessionCredentials, open_transport
from consumer.sqs.queue import QueueAddress, queue_attributes
from devkit.sqs import SqsServer

pytestmark = pytest.mark.usefixtures("aws_environment")

TransportName = Literal["lean", "aiobotocore"]
Pipe = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until either end closes."""
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b""
) -> None:
    """Join a connection with one to a local port."""
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    far_writer.write(first)
    await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))


@asynccontextmanager
async def listening(serve: Pipe, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate of its own making for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
async def tls_url(certificate: Path) -> AsyncIterator[str]:
    """The URL of a queue behind TLS."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with SqsServer() as server:
        server.create_queue("q")
        port = int(server.endpoint_url.rpartition(":")[2])
        async with listening(lambda r, w: join(r, w, port), tls) as tls_port:
            yield f"https://127.0.0.1:{tls_port}/000000000000/q"


async def visibility_seconds(queue_url: str, transport: TransportName) -> int:
    endpoint_url = queue_url.rpartition("/000000000000/")[0]
    async with open_transport(QueueAddress(queue_url, endpoint_url, transport=transport)) as opened:
        return (await queue_attributes(opened, queue_url, timeout_seconds=30)).visibility_seconds


@pytest.mark.parametrize("transport", ["lean", "aiobotocore"])
async def test_an_unknown_certificate_is_refused(tls_url: str, transport: TransportName) -> None:
    with pytest.raises(QueueRefusedError, match=r"CertificateNotTrusted .*AWS_CA_BUNDLE"):
        await visibility_seconds(tls_url, transport)


@pytest.mark.parametrize("transport", ["lean", "aiobotocore"])
async def test_the_bundle_that_aws_names_is_trusted(
    tls_url: str, transport: TransportName, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    assert await visibility_seconds(tls_url, transport) == 30


async def test_another_hosts_certificate_is_refused(
    tls_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    with pytest.raises(QueueRefusedError, match="CertificateNotTrusted"):
        await visibility_seconds(tls_url.replace("127.0.0.1", "localhost"), "lean")


async def test_a_missing_bundle_is_named(
    tls_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(SettingsError, match=r"AWS_CA_BUNDLE: .*missing.pem: No such file"):
        await visibility_seconds(tls_url, "lean")


@asynccontextmanager
async def proxy(seen: list[str]) -> AsyncIterator[str]:
    """A proxy for plain HTTP and for CONNECT, which notes the first line of each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode("latin-1").split("\r\n")[0].split(" ")
        seen.append(f"{method} {target}")
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await join(reader, writer, int(target.rpartition(":")[2]))
        else:
            port = int(target.split("/")[2].rpartition(":")[2])
            await join(reader, writer, port, head)

    async with listening(serve) as port:
        yield f"http://127.0.0.1:{port}"


async def test_a_proxy_of_the_environment_is_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    async with SqsServer() as server, proxy(seen) as proxy_url:
        queue_url = server.create_queue("q")
        monkeypatch.setenv("http_proxy", proxy_url)
        assert await visibility_seconds(queue_url, "lean") == 30
        assert seen == [f"POST {server.endpoint_url}/"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert await visibility_seconds(queue_url, "lean") == 30
        assert len(seen) == 1


async def test_tls_goes_through_a_tunnel_of_the_proxy(
    tls_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    async with proxy(seen) as proxy_url:
        monkeypatch.setenv("https_proxy", proxy_url)
        assert await visibility_seconds(tls_url, "lean") == 30
    assert seen == ["CONNECT " + tls_url.split("/")[2]]


async def test_the_query_protocol_does_not_go_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    address = QueueAddress("http://127.0.0.1:1/0/q", "http://127.0.0.1:1", protocol="query")
    with pytest.raises(SettingsError, match="NO_PROXY"):
        async with open_transport(address):
            pass


def _soon() -> float:
    return asyncio.get_running_loop().time() + 30


def _credential_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valid_for: int) -> None:
    """Let a program hand out credentials: other ones on each call."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    ends = datetime.now(UTC) + timedelta(seconds=valid_for)
    keys = {
        "Version": 1,
        "AccessKeyId": "KEY%s",
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": ends.isoformat(),
    }
    calls, program = tmp_path / "calls", tmp_path / "keys"
    program.write_text(
        f"#!/bin/sh\necho x >> {calls}\nprintf '{json.dumps(keys)}' $(grep -c x {calls})\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {program}\n")


async def test_credentials_are_those_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Within their last ten minutes credentials are refreshed whenever they are asked for.
    _credential_process(tmp_path, monkeypatch, valid_for=300)
    current = SessionCredentials(get_session())
    keys = [await current(_soon()) for _ in range(3)]
    assert all(each.token == "token" for each in keys)
    assert len({each.access_key for each in keys}) == 3


async def test_credentials_that_are_expired_on_arrival_are_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _credential_process(tmp_path, monkeypatch, valid_for=-300)
    with pytest.raises(QueueError, match="credentials: ") as error:
        await SessionCredentials(get_session())(_soon())
    assert not isinstance(error.value, QueueRefusedError)


async def test_credentials_have_the_deadline_of_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = get_session()

    async def never() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(session, "get_credentials", never)
    with pytest.raises(TimeoutError):
        await SessionCredentials(session)(asyncio.get_running_loop().time() + 0.01)


def _refreshable(
    session: AioSession,
    monkeypatch: pytest.MonkeyPatch,
    *,
    valid_for: timedelta,
    refresh: Callable[[], Awaitable[dict[str, str]]],
) -> SessionCredentials:
    """What a session gives whose provider found temporary credentials."""
    provided = AioRefreshableCredentials(
        "KEY", "secret", "token", datetime.now(UTC) + valid_for, refresh, "test"
    )

    async def found() -> AioRefreshableCredentials:
        return provided

    monkeypatch.setattr(session, "get_credentials", found)
    return SessionCredentials(session)


async def test_a_refresh_has_the_deadline_of_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    current = _refreshable(
        get_session(), monkeypatch, valid_for=timedelta(minutes=1), refresh=never
    )
    async with asyncio.timeout(30):
        for _ in range(2):  # the first asks the session too, the second the provider alone
            with pytest.raises(TimeoutError):
                await current(asyncio.get_running_loop().time() + 0.01)


FAILURES = [
    ValueError("secret"),
    KeyError("AccessKeyId"),
    json.JSONDecodeError("secret", "secret", 0),
    RuntimeError("refreshed, and already expired"),
    OSError("no such program"),
    CredentialRetrievalError(provider="custom", error_msg="secret"),
    AssertionError("secret"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
async def test_whatever_a_provider_raises_is_an_error_of_the_queue_with_advice(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing() -> dict[str, str]:
        raise failure

    session = get_session()
    refreshed = _refreshable(session, monkeypatch, valid_for=timedelta(minutes=1), refresh=failing)
    other_session = get_session()
    monkeypatch.setattr(other_session, "get_credentials", failing)
    for credentials in (refreshed, SessionCredentials(other_session)):
        with pytest.raises(QueueError, match=r"credentials: \w+ \(the provider .* check") as error:
            await credentials(_soon())
        assert not isinstance(error.value, QueueRefusedError)
        assert error.value.code == type(failure).__name__
        assert "secret" not in str(error.value)
        assert error.value.__context__ is None


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
async def test_whatever_a_call_of_aiobotocore_raises_is_an_error_of_the_queue(
    failure: Exception,
) -> None:
    async def failing(**_: object) -> dict[str, object]:
        raise failure

    transport = AiobotocoreTransport({"ReceiveMessage": failing})
    with pytest.raises(QueueError, match=f"ReceiveMessage: {type(failure).__name__}") as error:
        await transport.call("ReceiveMessage", {"QueueUrl": "url"}, 30)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("transport", ["lean", "aiobotocore"])
async def test_a_program_that_hands_out_no_credentials_is_an_error_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: TransportName
) -> None:
    _credential_process(tmp_path, monkeypatch, valid_for=300)
    (tmp_path / "keys").write_text("#!/bin/sh\necho not JSON\n")
    async with SqsServer() as server:
        with pytest.raises((QueueError, SettingsError), match=r"check|correct"):
            await visibility_seconds(server.create_queue("q"), transport)


async def test_a_role_that_may_not_be_assumed_is_refused_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def failing() -> dict[str, str]:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole")

    current = _refreshable(
        get_session(), monkeypatch, valid_for=timedelta(minutes=1), refresh=failing
    )
    with pytest.raises(QueueRefusedError, match=r"AccessDenied \(allow sts:AssumeRole"):
        await current(_soon())


@pytest.mark.parametrize("key", [5, ["KEY"], "KEY\n"])
async def test_credentials_that_are_no_printable_text_are_refused(
    key: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = get_session()

    async def found() -> AioCredentials:
        return AioCredentials("KEY", "secret", token=cast("str", key))

    monkeypatch.setattr(session, "get_credentials", found)
    with pytest.raises(QueueRefusedError, match="NotPrintable"):
        await SessionCredentials(session)(_soon())


async def test_temporary_credentials_that_last_are_not_refreshed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refused() -> dict[str, str]:
        raise AssertionError

    session = get_session()
    current = _refreshable(session, monkeypatch, valid_for=timedelta(hours=1), refresh=refused)
    first = await current(_soon())
    monkeypatch.setattr(session, "get_credentials", refused)
    assert (first.access_key, first.secret_key, first.token) == ("KEY", "secret", "token")
    assert await current(_soon()) is first


@pytest.mark.parametrize(
    "name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
)
async def test_credentials_with_a_line_end_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "something\n")
    with pytest.raises(QueueRefusedError, match="a line end") as caught:
        await SessionCredentials(get_session())(_soon())
    assert "something" not in str(caught.value)


async def test_lasting_credentials_stay_the_same_object() -> None:
    current = SessionCredentials(get_session())
    assert await current(_soon()) is await current(_soon())
