"""AWS at hand, served by moto."""

from collections.abc import Iterator

import pytest

from tests.aws import AwsAdmin, moto_server, use_aws_at


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def aws_admin(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> AwsAdmin:
    """An AWS account, to which AWS's own settings lead."""
    use_aws_at(moto_url, monkeypatch)
    return AwsAdmin(moto_url)
