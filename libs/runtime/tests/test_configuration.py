"""A wrong or unknown key stops the process with one line that names it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.errors import ConfigurationError
from understudy_runtime.configuration import KNOWN_KEYS, BusSettings, ControlSettings, load_settings


def test_environment_over_file_over_defaults(tmp_path):
    file = tmp_path / "understudy.toml"
    file.write_text('database = "filed"\nlog_level = "debug"\n')
    settings = load_settings(
        ControlSettings, {"UNDERSTUDY_CONFIG": str(file), "UNDERSTUDY_LOG_LEVEL": "error", "HOME": "x"}
    )
    assert (settings.database, settings.log_level) == ("filed", "error")
    assert settings.subject_prefix == "understudy"


def test_a_secret_may_be_in_a_file_of_its_own(tmp_path):
    secret = tmp_path / "url"
    secret.write_text("mongodb://user:secret@db\n")
    settings = load_settings(ControlSettings, {"UNDERSTUDY_MONGO_URL_FILE": str(secret)})
    assert settings.mongo_url == "mongodb://user:secret@db"


def test_keys_of_other_processes_are_passed_by():
    assert load_settings(BusSettings, {"UNDERSTUDY_MONGO_URL": "mongodb://x"}) == BusSettings()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"UNDERSTUDY_NATS_ULR": "x"},
            "unknown setting UNDERSTUDY_NATS_ULR .did you mean UNDERSTUDY_NATS_URL",
        ),
        ({"UNDERSTUDY_NONSENSE": "x"}, "unknown setting UNDERSTUDY_NONSENSE"),
        (
            {"UNDERSTUDY_NATS_URL_FILE": "/nowhere/secret"},
            "UNDERSTUDY_NATS_URL_FILE: cannot read /nowhere/secret",
        ),
        ({"UNDERSTUDY_CONFIG": "/nowhere/file"}, "cannot read the configuration file /nowhere/file"),
    ],
)
def test_mistakes_are_named(environment, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        load_settings(BusSettings, environment)
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nats_ulr = 'x'\n", "unknown setting 'nats_ulr'"),
        ("nats_url = \n", "not valid TOML"),
        ("nats_url = 7\n", "wrong type"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, text, message):
    file = tmp_path / "understudy.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_settings(BusSettings, {"UNDERSTUDY_CONFIG": str(file)})


@given(st.text(st.characters(codec="ascii", categories=["Lu"]), min_size=1, max_size=12))
def test_no_unknown_key_is_ever_swallowed(name):
    if name.lower() in KNOWN_KEYS or name.lower().removesuffix("_file") in KNOWN_KEYS:
        return
    with pytest.raises(ConfigurationError):
        load_settings(BusSettings, {f"UNDERSTUDY_{name}": "x"})
