"""Secrets planted in logs do not survive; what a reader needs does."""

from __future__ import annotations

import base64
import json

import pytest

from steadyset.redact import MARK, redact, secret_values

SECRET = "hunter2-Correct/Horse+Battery"


@pytest.mark.parametrize(
    "text",
    [
        f"PATRONI_SUPERUSER_PASSWORD:  {SECRET}",
        f"PGPASSWORD={SECRET} psql -h pg-0",
        f'{{"password": "{SECRET}", "user": "postgres"}}',
        json.dumps(json.dumps({"replication": {"password": SECRET}})),
        f"- name: PGPASSWORD\n  value: {SECRET}\n",
        f'{{"name":"PGPASSWORD","value":"{SECRET}"}}',
        f"Authorization: Bearer {SECRET}",
        f'headers={{"Authorization": "Basic {SECRET}"}}',
        f"curl -H 'authorization: {SECRET}' https://10.0.0.1",
        f"postgresql://postgres:{SECRET.replace('/', '_')}@pg-0:5432/postgres",
        f"patronictl --token {SECRET}",
        f"ALTER ROLE postgres PASSWORD '{SECRET}'",
        f"api_key={SECRET}&x=1",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----\nafter",
    ],
)
def test_shapes_of_secrets_are_taken_out(text: str) -> None:
    """Nothing is known of the secret; its surroundings betray it."""
    result = redact(text)
    assert "Correct" not in result
    assert MARK in result


def test_a_private_key_cut_off_in_the_middle_is_taken_out() -> None:
    """A log that ends inside a key has no END line."""
    assert redact("x -----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0") == f"x {MARK}"


def test_service_account_tokens_are_taken_out_wherever_they_stand() -> None:
    """A JSON web token needs no key in front of it."""
    token = ".".join(
        base64.urlsafe_b64encode(p).decode().rstrip("=") for p in (b'{"alg":"RS256"}', b'{"sub":"x:y"}', b"sig")
    )
    assert redact(f"got {token} from the API") == f"got {MARK} from the API"


@pytest.mark.parametrize("prefix", ["", "a", "ab", "abc", "user:"])
def test_known_values_are_found_inside_longer_base64(prefix: str) -> None:
    """Base64 shifts with what stands before the value; every alignment is looked for."""
    encoded = base64.b64encode(f"{prefix}{SECRET}{prefix}".encode()).decode()
    result = redact(f"blob {encoded} end", [SECRET])
    readable = base64.b64decode(result.split()[1].split(MARK)[0] + "==", validate=False)
    assert MARK in result
    assert b"hunt" not in readable
    assert base64.b64encode(SECRET.encode()).decode().rstrip("=") not in result


@pytest.mark.parametrize("text", [f"it is {SECRET}!", json.dumps({"x": SECRET}), "hunter2-Correct%2FHorse%2BBattery"])
def test_known_values_are_taken_out_in_every_form(text: str) -> None:
    """Plain, JSON and URL form, without any key that betrays them."""
    assert "Correct" not in redact(text, [SECRET])


def test_a_value_of_several_lines_is_taken_out_line_by_line() -> None:
    """Logs indent or interleave the lines of a multi-line secret."""
    result = redact("1: first-line-of-it\n2: second-line-of-it", ["first-line-of-it\nsecond-line-of-it\n"])
    assert result == f"1: {MARK}\n2: {MARK}"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01 LOG:  database system is ready to accept connections",
        "automountServiceAccountToken: true",
        "Normal  Scheduled  pod/pg-0  Successfully assigned db/pg-0 to n1",
        "secretName: pg-credentials-ref",
        "tokenExpirationSeconds: 3607",
        "volume 7f3c attached to n1 (uid 0b9f0b1e-3f0f-4e35-8d50-0a2f2a8d3f7e)",
    ],
)
def test_what_a_reader_needs_is_kept(text: str) -> None:
    """Redaction that eats the log is of no use."""
    assert redact(text, ["abc"]) == text


def test_redacting_twice_changes_nothing() -> None:
    """Saved logs may be redacted again by recheck."""
    once = redact(f'password: {SECRET}\n{{"token":"{SECRET}"}} Authorization: Bearer {SECRET}', [SECRET])
    assert redact(once, [SECRET]) == once


def test_values_of_secret_objects_are_decoded() -> None:
    """data is base64, stringData is not; empty and binary values are no text."""
    objects = [
        {"data": {"a": base64.b64encode(b"alpha").decode(), "b": base64.b64encode(b"\xff\xfe").decode(), "c": ""}},
        {"stringData": {"d": "delta"}},
        {"data": None},
    ]
    assert secret_values(objects) == {"alpha", "delta"}
