"""AWS as moto serves it over HTTP, and its Secrets Manager and KMS."""

import base64
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from aiobotocore.session import get_session
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"


@contextmanager
def moto_server() -> Iterator[str]:
    """Its URL, on a port of its own."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def use_aws_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have AWS's own settings lead to `url`, and to nothing else."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class AwsAdmin:
    """What an administrator of the account does; of moto at `url`."""

    url: str

    async def put_secret(self, name: str, value: str | bytes) -> str:
        """Store a secret; return its ARN."""
        async with get_session().create_client("secretsmanager", region_name=REGION) as client:
            if isinstance(value, bytes):
                answer = await client.create_secret(Name=name, SecretBinary=value)
            else:
                answer = await client.create_secret(Name=name, SecretString=value)
        return answer["ARN"]

    async def replace_secret(self, name: str, value: str) -> None:
        """Make another value the secret's current one."""
        async with get_session().create_client("secretsmanager", region_name=REGION) as client:
            await client.put_secret_value(SecretId=name, SecretString=value)

    async def make_key(self) -> str:
        """Make a KMS key; return its id."""
        async with get_session().create_client("kms", region_name=REGION) as client:
            return (await client.create_key())["KeyMetadata"]["KeyId"]

    async def wrap(self, key: str, text: str, context: Mapping[str, str]) -> str:
        """As `aws kms encrypt --output text` prints it."""
        async with get_session().create_client("kms", region_name=REGION) as client:
            answer = await client.encrypt(
                KeyId=key, Plaintext=text.encode(), EncryptionContext=context
            )
        return base64.b64encode(answer["CiphertextBlob"]).decode()
