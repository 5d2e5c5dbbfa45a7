"""The options of `sensegrep serve`: flags, variables, and what neither can mean."""

import socket
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.commands.serve import OPTIONS, read_settings
from pipelines.errors import UsageError
from pipelines.serving.settings import ServeSettings


def test_every_field_of_the_settings_has_a_flag_and_a_variable() -> None:
    assert {option.field for option in OPTIONS} == set(ServeSettings.__dataclass_fields__)
    assert len({option.variable for option in OPTIONS}) == len(OPTIONS)


def test_the_defaults_in_the_help_are_the_real_ones() -> None:
    for option in OPTIONS:
        if option.default:
            default = ServeSettings.__dataclass_fields__[option.field].default
            assert option.read(option.default) == default, option.flag


def test_a_flag_goes_before_its_variable() -> None:
    environment = {"SENSEGREP_CORPUS": "c", "SENSEGREP_PORT": "1", "SENSEGREP_MAX_BODY": "1M",
                   "SENSEGREP_REFRESH": "500ms", "SENSEGREP_ALLOW_HOST": "a, b",
                   "SENSEGREP_LOG_JSON": "yes", "SENSEGREP_API_KEY": "k",
                   "SENSEGREP_MODEL": ""}  # fmt: skip
    found = read_settings({"port": "2", "host": None}, environment)
    assert (found.corpus, found.port, found.host) == ("c", 2, "127.0.0.1")
    assert (found.max_body_bytes, found.refresh_seconds) == (1 << 20, 0.5)
    assert (found.allow_hosts, found.log_json, found.api_key) == (("a", "b"), True, "k")
    assert found.model is None


@pytest.mark.parametrize(
    ("given", "environment", "words"),
    [
        ({}, {}, "no corpus is given; name one with --corpus DIR or SENSEGREP_CORPUS"),
        ({"port": "http"}, {}, "--port: 'http' is not a whole number"),
        ({}, {"SENSEGREP_PORT": "http"}, "SENSEGREP_PORT: 'http' is not a whole number"),
        ({"port": "70000"}, {}, "--port is 70000"),
        ({"refresh_seconds": "soon"}, {}, "--refresh: 'soon' is not a duration"),
        ({"refresh_seconds": "0"}, {}, "--refresh is 0.0; give more than 0 seconds"),
        ({"max_seconds": "-1s"}, {}, "--max-seconds is -1.0"),
        ({"max_k": "0"}, {}, "--max-k is 0; give at least 1"),
        ({"max_body_bytes": "lots"}, {}, "--max-body: 'lots' is not a size"),
        ({"api_key": " "}, {}, "--api-key must be"),
        ({"allow_origins": "example.org"}, {}, "write an origin like https://example.org"),
        ({"log_json": "maybe"}, {}, "is neither on nor off; write 1 or 0"),
    ],
)
def test_what_means_nothing_is_told_by_its_name(
    given: dict[str, str], environment: dict[str, str], words: str
) -> None:
    corpus: dict[str, Any] = {"corpus": "c"} if given or environment else {}
    with pytest.raises(UsageError, match=None) as caught:
        read_settings({**corpus, **given}, environment)
    assert words in str(caught.value)


def test_an_address_in_use_exits_2(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], tiny_elmo_dir: Any
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "text": "The bank gave her a loan ."}\n')
    corpus = str(tmp_path / "corpus")
    assert main(["embed", str(source), "--corpus", corpus, "--model", str(tiny_elmo_dir)]) == 0
    assert main(["index", "--corpus", corpus]) == 0
    capsys.readouterr()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", "--corpus", corpus, "--port", port]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
