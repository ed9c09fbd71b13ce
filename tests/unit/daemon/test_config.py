from __future__ import annotations

from pathlib import Path

import pytest
from iterate_daemon.config import ConfigError, from_env


def test_the_environment_sets_every_field() -> None:
    config = from_env(
        {
            "ITERATE_DAEMON_TOKEN": " secret\n",
            "ITERATE_DAEMON_HOST": "0.0.0.0",  # noqa: S104 - what the image sets
            "ITERATE_DAEMON_PORT": "3000",
            "ITERATE_DAEMON_NOTIFY_FD": "3",
            "ITERATE_S6_DIR": "/run/service",
            "ITERATE_ALLOWED_HOSTS": "Sandbox.example.com, *.preview.example",
            "OPENCODE_SERVER_PASSWORD": "pw",
        }
    )
    assert config.token == "secret"
    assert (config.host, config.port, config.notify_fd) == ("0.0.0.0", 3000, 3)  # noqa: S104
    assert config.s6_dir == Path("/run/service")
    assert config.allowed_hosts == ("sandbox.example.com", "*.preview.example")
    assert config.opencode_password == "pw"


def test_the_daemon_listens_on_loopback_by_default() -> None:
    assert from_env({"ITERATE_DAEMON_TOKEN": "t"}).host == "127.0.0.1"


@pytest.mark.parametrize("env", [{}, {"ITERATE_DAEMON_TOKEN": ""}, {"ITERATE_DAEMON_TOKEN": " \n"}])
def test_a_missing_token_is_refused_with_advice(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"ITERATE_DAEMON_TOKEN is not set → .*openssl"):
        from_env(env)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ITERATE_DAEMON_PORT", "http"),
        ("ITERATE_DAEMON_PORT", "65536"),
        ("ITERATE_DAEMON_PORT", "-1"),
        ("ITERATE_DAEMON_PORT", "٣٠٠٠"),
        ("ITERATE_DAEMON_NOTIFY_FD", "three"),
        ("ITERATE_ALLOWED_HOSTS", "https://a.example"),
        ("ITERATE_ALLOWED_HOSTS", "a.example:3000"),
        ("ITERATE_ALLOWED_HOSTS", "*"),
    ],
)
def test_an_invalid_value_is_refused_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_env({"ITERATE_DAEMON_TOKEN": "t", name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} ")
    assert " → " in message
    assert "\n" not in message
    # It may have come from a file of secrets.
    assert len(value) < 3 or value not in message


def test_the_repr_of_a_config_hides_secrets() -> None:
    text = repr(from_env({"ITERATE_DAEMON_TOKEN": "s3cret", "OPENCODE_SERVER_PASSWORD": "pa55"}))
    assert "s3cret" not in text
    assert "pa55" not in text
