"""Signatures: AWS's published examples, and botocore's own signer on random requests."""

import weakref
from datetime import UTC, datetime
from itertools import product
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, strategies as st

from consumer.sqs.signing import Credentials, Signer

# The access key of AWS's Signature Version 4 test suite and of its documentation.
EXAMPLE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
EXAMPLE_TIME = datetime(2015, 8, 30, 12, 36, 0, tzinfo=UTC).timestamp()
EXAMPLE_SCOPE = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"

TOKEN_CHARACTERS = st.characters(min_codepoint=33, max_codepoint=126)
WORDS = st.text(TOKEN_CHARACTERS, min_size=1, max_size=40)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)
SEGMENTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("headers", "body", "signed_headers", "signature"),
    [
        pytest.param(
            {},
            b"",
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            id="post-vanilla",
        ),
        pytest.param(
            {"my-header1": "value1"},
            b"",
            "host;my-header1;x-amz-date",
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            id="post-header-value-case",
        ),
        pytest.param(
            {"content-type": "application/x-www-form-urlencoded"},
            b"Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            id="post-x-www-form-urlencoded",
        ),
    ],
)
def test_it_signs_as_the_published_examples(
    headers: dict[str, str], body: bytes, signed_headers: str, signature: str
) -> None:
    lines = Signer("service", "us-east-1").header_lines(
        EXAMPLE,
        host="example.amazonaws.com",
        path="/",
        headers=tuple(headers.items()),
        body=body,
        now=EXAMPLE_TIME,
    )
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={EXAMPLE_SCOPE}, "
        f"SignedHeaders={signed_headers}, Signature={signature}"
    )
    assert _read(lines) == sorted(
        [*headers.items(), ("x-amz-date", "20150830T123600Z"), ("authorization", authorization)]
    )


@given(
    access_key=NAMES,
    secret_key=WORDS,
    token=st.none() | WORDS,
    region=NAMES,
    host=NAMES,
    segments=st.lists(SEGMENTS.filter(lambda each: each not in {".", ".."}), max_size=3),
    headers=st.dictionaries(NAMES.map(lambda name: f"x-{name}"), WORDS, max_size=4),
    body=st.binary(max_size=200),
    second=st.integers(0, 4_000_000_000),
)
def test_it_signs_as_botocore_does(
    *,
    access_key: str,
    secret_key: str,
    token: str | None,
    region: str,
    host: str,
    segments: list[str],
    headers: dict[str, str],
    body: bytes,
    second: int,
) -> None:
    path = "/" + "/".join(quote(each, safe="") for each in segments)
    lines = Signer("sqs", region).header_lines(
        Credentials(access_key, secret_key, token),
        host=host,
        path=path,
        headers=tuple(headers.items()),
        body=body,
        now=second + 0.5,
    )
    url = f"https://{host}{path}"
    request = AWSRequest(method="POST", url=url, headers=dict(headers), data=body)
    signer = SigV4Auth(BotocoreCredentials(access_key, secret_key, token), "sqs", region)
    assert _read(lines) == _signed(signer, request, datetime.fromtimestamp(second, UTC))


def _read(lines: str) -> list[tuple[str, str]]:
    assert lines.endswith("\r\n")
    fields = (line.partition(": ") for line in lines.removesuffix("\r\n").split("\r\n"))
    return sorted((name, value) for name, _, value in fields)


def _signed(signer: SigV4Auth, request: AWSRequest, moment: datetime) -> list[tuple[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: moment)
        signer.add_auth(request)
    return sorted((name.lower(), value) for name, value in request.headers.items())


OTHER_CREDENTIALS = (
    Credentials("AKIDOTHER", EXAMPLE.secret_key),
    Credentials("AKIDOTHER", "another"),
    Credentials("AKIDOTHER", "another", "token"),
    Credentials("AKIDOTHER", "another", "another token"),
)


def test_a_signer_follows_each_change_of_credentials_time_and_request() -> None:
    kept = Signer("sqs", "eu-central-1")
    for now in (0.0, 0.9, 1.0, 86_399.0, 86_400.0, 1.0):
        for credentials in (EXAMPLE, *OTHER_CREDENTIALS, EXAMPLE):
            for target, host, path in product(("Receive", "Delete"), ("h", "i"), ("/", "/q")):
                signed, expected = (
                    _lines(signer, credentials, now, target=target, host=host, path=path)
                    for signer in (kept, Signer("sqs", "eu-central-1"))
                )
                assert signed == expected


def test_credentials_that_cannot_sign_do_not_borrow_the_key_of_others() -> None:
    signer, broken = Signer("sqs", "eu-central-1"), Credentials("AKIDOTHER", "\ud800")
    _lines(signer, EXAMPLE, 0.0)
    for _ in range(2):
        with pytest.raises(UnicodeEncodeError):
            _lines(signer, broken, 0.0)
        with pytest.raises(UnicodeEncodeError):
            _lines(signer, broken, 86_400.0)
    assert _lines(signer, EXAMPLE, 0.0) == _lines(Signer("sqs", "eu-central-1"), EXAMPLE, 0.0)


class _Token(str):
    """A session token that can be watched."""

    __slots__ = ("__weakref__",)


def test_a_signer_lets_go_of_a_rotated_token_within_a_second() -> None:
    signer, token = Signer("sqs", "eu-central-1"), _Token("token")
    gone = weakref.ref(token)
    _lines(signer, Credentials("AKIDOTHER", "another", token), 0.0)
    del token
    _lines(signer, EXAMPLE, 1.0)
    assert gone() is None


def _lines(
    signer: Signer,
    credentials: Credentials,
    now: float,
    *,
    target: str = "Receive",
    host: str = "h",
    path: str = "/",
) -> str:
    headers = (("x-amz-target", target),)
    return signer.header_lines(
        credentials, host=host, path=path, headers=headers, body=b"", now=now
    )


def test_credentials_print_without_their_secrets() -> None:
    shown = repr(Credentials("AKIDEXAMPLE", "secret-key", "session-token"))
    assert "secret-key" not in shown
    assert "session-token" not in shown


def test_what_a_signer_keeps_prints_without_the_session_token() -> None:
    signer = Signer("sqs", "eu-central-1")
    _lines(signer, Credentials("AKIDEXAMPLE", "secret-key", "session-token"), 0.0)
    shown = repr(vars(signer))
    assert "_Head" in shown
    assert "session-token" not in shown
