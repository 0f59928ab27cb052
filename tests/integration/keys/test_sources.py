"""The places that a key ring is read from: what is read, what is refused, what is retried."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consumer.errors import KeyRingError, KeySourceError
from consumer.keys.sources import (
    InlineKeys,
    KeyFile,
    KmsKeyFile,
    SecretsManager,
    load_key_ring,
    warnings_of,
)
from consumer.masking.key_ring import KeyRing
from tests.aws import REGION, AwsAdmin
from tests.unit.masking.exposure import carried_by

CONTEXT = {"service": "login-consumer"}


@pytest.fixture
def ring(key_ring_json: str) -> KeyRing:
    return KeyRing.parse(key_ring_json)


@pytest.fixture
def secret_name() -> str:
    return f"ring-{uuid.uuid4().hex}"


def _secret(name: str, *, region: str | None = None, timeout_seconds: float = 30) -> SecretsManager:
    return SecretsManager(name, region, timeout_seconds)


def _wrapped_file(path: Path, context: Mapping[str, str]) -> KmsKeyFile:
    return KmsKeyFile(path, context, region=None, timeout_seconds=30)


async def test_a_ring_is_taken_as_given(key_ring_json: str, ring: KeyRing) -> None:
    assert await load_key_ring(InlineKeys(key_ring_json)) == ring


async def test_a_ring_is_read_from_a_file(
    key_ring_json: str, ring: KeyRing, tmp_path: Path
) -> None:
    (tmp_path / "ring.json").write_text(key_ring_json)
    assert await load_key_ring(KeyFile(tmp_path / "ring.json")) == ring


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyRingError, match=r"ring\.json: No such file"):
        await load_key_ring(KeyFile(tmp_path / "ring.json"))


async def test_a_file_that_is_not_text_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "ring.json").write_bytes(b"\xff\xfesecret")
    with pytest.raises(KeyRingError, match=r"ring\.json: not UTF-8") as refused:
        await load_key_ring(KeyFile(tmp_path / "ring.json"))
    assert "secret" not in carried_by(refused.value)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o604, 1), (0o602, 1)])
def test_a_file_that_others_may_read_or_write_is_warned_of(
    tmp_path: Path, mode: int, warned: int
) -> None:
    path = tmp_path / "ring.json"
    path.touch()
    path.chmod(mode)
    assert len(warnings_of(KeyFile(path))) == warned


async def test_a_ring_is_read_from_secrets_manager_by_name_and_by_arn(
    aws_admin: AwsAdmin, key_ring_json: str, ring: KeyRing, secret_name: str
) -> None:
    arn = await aws_admin.put_secret(secret_name, key_ring_json)
    assert await load_key_ring(_secret(secret_name)) == ring
    # The ARN's own region comes before the one that is set.
    assert await load_key_ring(_secret(arn, region="us-west-2")) == ring


async def test_a_binary_secret_is_read_too(
    aws_admin: AwsAdmin, key_ring_json: str, ring: KeyRing, secret_name: str
) -> None:
    await aws_admin.put_secret(secret_name, key_ring_json.encode())
    assert await load_key_ring(_secret(secret_name, region=REGION)) == ring


async def test_a_secret_that_is_not_there_is_refused_in_a_line(aws_admin: AwsAdmin) -> None:
    del aws_admin
    with pytest.raises(KeyRingError, match=r"NotFoundException \(there is no such secret"):
        await load_key_ring(_secret("nothing"))


async def test_a_wrapped_file_is_unwrapped_with_its_context(
    aws_admin: AwsAdmin, key_ring_json: str, ring: KeyRing, tmp_path: Path
) -> None:
    path = tmp_path / "ring.kms"
    path.write_text(await aws_admin.wrap(await aws_admin.make_key(), key_ring_json, CONTEXT) + "\n")
    assert await load_key_ring(_wrapped_file(path, CONTEXT)) == ring
    for context in ({}, {"service": "another"}):
        with pytest.raises(KeyRingError, match="InvalidCiphertextException") as refused:
            await load_key_ring(_wrapped_file(path, context))
        assert refused.value.__context__ is None


async def test_a_ring_that_is_not_wrapped_is_refused_and_not_shown(
    aws_admin: AwsAdmin, key_ring_json: str, tmp_path: Path
) -> None:
    del aws_admin
    path = tmp_path / "ring.kms"
    path.write_text(key_ring_json)
    with pytest.raises(KeyRingError, match="not base64") as refused:
        await load_key_ring(_wrapped_file(path, {}))
    assert key_ring_json[40:60] not in carried_by(refused.value)


@asynccontextmanager
async def _answering(status: int, code: str) -> AsyncIterator[str]:
    """A server that answers every call with the same error."""
    body = f'{{"__type": "{code}", "message": "not shown"}}'.encode()
    async with _replying(status, body) as url:
        yield url


@asynccontextmanager
async def _replying(status: int, body: bytes) -> AsyncIterator[str]:
    """A server that answers every call alike."""
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"{head}Content-Type: application/x-amz-json-1.1\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "AccessDeniedException", KeyRingError),
        (400, "UnrecognizedClientException", KeyRingError),
        (400, "ThrottlingException", KeySourceError),
        (500, "InternalServiceError", KeySourceError),
        (503, "DependencyTimeoutException", KeySourceError),
    ],
)
async def test_refusals_end_the_start_and_the_rest_is_retried(
    aws_admin: AwsAdmin,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    error: type[Exception],
) -> None:
    del aws_admin
    async with _answering(status, code) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(error, match=f"GetSecretValue: {code}"):
            await load_key_ring(_secret("ring"))


@pytest.mark.parametrize("body", [b"{}", b"<html>not shown</html>", b'"not shown"', b""])
async def test_a_reply_that_is_none_of_awss_is_retried(
    aws_admin: AwsAdmin, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    del aws_admin
    async with _replying(200, body) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(KeySourceError, match="GetSecretValue: ") as failed:
            await load_key_ring(_secret("ring"))
    assert "not shown" not in carried_by(failed.value)


async def test_credentials_that_a_process_prints_wrongly_are_asked_for_again(
    aws_admin: AwsAdmin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del aws_admin
    config = tmp_path / "config"
    config.write_text("[default]\ncredential_process = echo not-shown\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(KeySourceError, match="GetSecretValue: JSONDecodeError") as failed:
        await load_key_ring(_secret("ring"))
    assert "not-shown" not in carried_by(failed.value)


async def test_a_server_that_is_not_there_is_retried(
    aws_admin: AwsAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    del aws_admin
    async with _answering(500, "X") as url:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(KeySourceError, match="EndpointConnectionError"):
        await load_key_ring(_secret("ring"))


async def test_a_server_that_is_silent_is_given_up_in_time(
    aws_admin: AwsAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    del aws_admin
    released = asyncio.Event()

    async def be_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    async with await asyncio.start_server(be_silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(KeySourceError, match="Timeout"):
            await load_key_ring(_secret("ring", timeout_seconds=0.5))
        released.set()


async def test_without_credentials_it_is_refused(
    aws_admin: AwsAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    del aws_admin
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(KeyRingError, match="there are no AWS credentials"):
        await load_key_ring(_secret("ring"))


async def test_without_a_region_it_is_refused(
    aws_admin: AwsAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    del aws_admin
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(KeyRingError, match=r"set sqs\.region or AWS_DEFAULT_REGION"):
        await load_key_ring(_secret("ring"))
