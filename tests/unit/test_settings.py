"""A process's flags and environment: what it makes of them, and what it refuses at start."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from sie_runtime.settings import LogLevel, SettingsError, parse, setting


@dataclass(frozen=True, kw_only=True)
class _Settings:
    folder: Path = setting(help="a folder")
    port: int = setting(0, help="a port")
    wait_s: float = setting(1.5, help="seconds")
    strict: bool = setting(False, help="a switch")
    names: tuple[str, ...] = setting((), help="a list")
    name: str | None = setting(None, help="a name")
    log_level: LogLevel = setting("info", help="a level")


def _parsed(*argv: str, **environ: str) -> _Settings:
    told = {f"SIE_TEST_{name.upper()}": text for name, text in environ.items()}
    return parse(_Settings, prefix="SIE_TEST", argv=argv, environ=told | {"SIE_OTHER": "x"})


def test_a_flag_comes_before_the_environment_and_that_before_the_default():
    assert _parsed(folder="a", wait_s="2") == _Settings(folder=Path("a"), wait_s=2.0)
    assert _parsed("--folder=b", folder="a").folder == Path("b")
    assert _parsed("--strict", "--folder", "b", "--names", "x, y,").names == ("x", "y")
    assert _parsed("--folder", "b", "--strict", "no", "--name", "").name is None
    assert _parsed("--folder", "b", "--log-level", "WARNING").log_level == "warning"


@pytest.mark.parametrize(
    ("argv", "environ", "words"),
    [
        (["--folder", "a", "--prot", "1"], {}, "--prot is not a setting; did you mean --port?"),
        ([], {"folder": "a", "wait": "1"}, "SIE_TEST_WAIT is not a setting; did you mean"),
        ([], {}, "--folder (or SIE_TEST_FOLDER) is wanted"),
        (["--folder"], {}, "--folder wants a value"),
        (["--folder", "a", "--port", "x"], {}, "--port: 'x' is not of type int"),
        (["--folder", "a", "--port", "65536"], {}, "--port: 65536 is no port"),
        (["--folder", "a", "--port", "-1"], {}, "--port: -1 is not a number from 0 on"),
        ([], {"folder": "a", "wait_s": "nan"}, "SIE_TEST_WAIT_S: nan is not a number from 0 on"),
        ([], {"folder": "a", "wait_s": "inf"}, "SIE_TEST_WAIT_S: inf is not a number from 0 on"),
        (["--folder", "a", "--strict", "maybe"], {}, "'maybe' is not true or false"),
        (["--folder", "a", "--log-level", "loud"], {}, "'loud' is none of debug, info, warning"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_that_names_it(argv, environ, words):
    with pytest.raises(SettingsError) as refused:
        _parsed(*argv, **environ)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
