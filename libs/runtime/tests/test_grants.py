"""Grants: only what the host signed, for this machine and purpose, in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.errors import ConfigurationError, Refused
from understudy_runtime.grants import Grant, Signer, verify_grant

SIGNER = Signer.generate()
GRANT = Grant("fetch", "m-1", expires_at=1000, failover="f-1")
TOKEN = SIGNER.sign(GRANT)


def verify(token: str, **changes: object) -> Grant:
    wanted = {"public_key": SIGNER.public_key, "purpose": "fetch", "machine": "m-1", "now_ms": 999, **changes}
    return verify_grant(token, **wanted)  # type: ignore[arg-type]


def test_what_was_signed_is_accepted_offline():
    assert verify(TOKEN) == GRANT


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": Signer.generate().public_key},
        {"purpose": "erase"},
        {"machine": "m-2"},
        {"now_ms": 1000},
        {"public_key": "nonsense"},
    ],
)
def test_another_key_purpose_machine_or_time_is_refused(changes):
    with pytest.raises(Refused):
        verify(TOKEN, **changes)


@given(
    st.text(max_size=60) | st.integers(0, len(TOKEN) - 1).map(lambda at: TOKEN[:at] + "!" + TOKEN[at + 1 :])
)
def test_hostile_tokens_are_refused_and_nothing_else(token):
    with pytest.raises(Refused):
        verify(token)


def test_a_key_survives_its_file_which_only_its_owner_can_read(tmp_path):
    path = tmp_path / "key"
    SIGNER.save(path)
    assert path.stat().st_mode & 0o077 == 0
    assert verify(Signer.from_file(str(path)).sign(GRANT)) == GRANT
    for bad in ("", str(tmp_path / "none")):
        with pytest.raises(ConfigurationError):
            Signer.from_file(bad)
