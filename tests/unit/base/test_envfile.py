"""`.env` files are data: the value as it stands, or the number of its line, whatever the file."""

from __future__ import annotations

import os
import re
import socket
import string
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.base import envfile
from tasks.base.project import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def values_of(text: str) -> dict[str, str]:
    file = envfile.parse(text.encode())
    assert file.defects == ()
    return file.values


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=hello brave world", "hello brave world"),
        ("NAME=a$b&c#d", "a$b&c#d"),
        ("NAME = v", "v"),
        ("NAME= v ", "v"),
        ("NAME=Ada Lovelace", "Ada Lovelace"),
        ("export NAME=v", "v"),
        ("  export  NAME=v", "v"),
        ("NAME=", ""),
        ("NAME=''", ""),
        ('NAME="two words"', "two words"),
        ("NAME='two words'", "two words"),
        ('NAME="tab\\tand\\nline"', "tab\tand\nline"),
        ("NAME='no\\nescape'", "no\\nescape"),
        ('NAME="a \\"b\\" \\\\ c"', 'a "b" \\ c'),
        ("NAME='it\\'s'", "it's"),
        ("NAME=it's", "it's"),
        ('NAME=say "hi"', 'say "hi"'),
        ("NAME='first\nsecond\n\n# third'", "first\nsecond\n\n# third"),
        ('NAME="-----BEGIN KEY-----\nMII=\n-----END KEY-----"',
         "-----BEGIN KEY-----\nMII=\n-----END KEY-----"),
        ("NAME=value # a comment", "value"),
        ("NAME='value' # a comment", "value"),
        ("NAME=#value", "#value"),
        ("NAME='# value'", "# value"),
        ("NAME=${OTHER}$(id)`id`", "${OTHER}$(id)`id`"),
        ('NAME="$HOME"', "$HOME"),
        ("NAME=a=b==", "a=b=="),
        ("NAME=C:\\dir\\new", "C:\\dir\\new"),
        ("NAME=v\\", "v\\"),
        ('NAME={"a": "b"}', '{"a": "b"}'),
        ("NAME=https://u:p@h/?a=b&c=d#e", "https://u:p@h/?a=b&c=d#e"),
        ("NAME=grüße, 世界", "grüße, 世界"),
        ("NAME=*; rm -rf ~ | cat > x", "*; rm -rf ~ | cat > x"),
        ("NAME=" + "x" * 100_000, "x" * 100_000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["\n", "", "\r\n", "\nLAST=1\n"], ids=repr)
def test_a_value_is_what_stands_there(line: str, value: str, ending: str) -> None:
    text = line.replace("\n", "\r\n") + ending if "\r" in ending else line + ending
    assert values_of(text)["NAME"] == value


def test_blank_lines_comments_and_a_byte_order_mark_say_nothing() -> None:
    text = "\ufeffFIRST=1\n\n   \n\t# SECOND=2\n#THIRD=3\n" + " " * 500 + "\nLAST=4\n"
    assert values_of(text) == {"FIRST": "1", "LAST": "4"}


def test_of_two_lines_for_one_name_the_last_counts() -> None:
    assert values_of("A=1\nB=2\nA=3\n") == {"A": "3", "B": "2"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("hello brave world", "not NAME=value"),
        ("=value", "not NAME=value"),
        ("NAME: value", "not NAME=value"),
        ("NAME='open", "a quote left open"),
        ('NAME="open', "a quote left open"),
        ("'NAME=open", "a quote left open"),
        ('NAME="closed" and more', "not NAME=value"),
        ("NAME", "no `=`"),
        ("export NAME", "no `=`"),
        ("1NAME=value", "a name with other characters"),
        ("NA.ME=value", "a name with other characters"),
        ("NA-ME=value", "a name with other characters"),
        ("NÄME=value", "a name with other characters"),
        ("\uff2eAME=value", "a name with other characters"),
        ("export=value two=three\0", "a NUL byte"),
        ("NAME=val\0ue", "a NUL byte"),
        ("NA\0ME=value", "a NUL byte"),
        ("NAME=val\udcffue", "not UTF-8 text"),
        ("NAME='val\udcffue'", "not UTF-8 text"),
        ("NAME=a" + " " * 200 + "b", "200 blanks"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=repr)
def test_a_bad_line_is_named_and_costs_no_other(line: str, reason: str, newline: str) -> None:
    lines = ["FIRST=1", "", "# a comment", line, "SECOND=two words", "THIRD='3'", "FOURTH=4"]
    file = envfile.parse(newline.join(lines).encode("utf-8", "surrogateescape"))
    assert file.values == {"FIRST": "1", "SECOND": "two words", "THIRD": "3", "FOURTH": "4"}
    assert [defect.line for defect in file.defects] == [4]
    assert reason in file.defects[0].text


def test_every_bad_line_has_its_own_number_also_among_open_quotes() -> None:
    text = 'A="open\nB="closed"\n\'C=open\n\n\nD=\'closed\'\nE="open\nF=6\n'
    file = envfile.parse(text.encode())
    assert file.values == {"B": "closed", "D": "closed", "F": "6"}
    assert [defect.line for defect in file.defects] == [1, 3, 7]


def test_what_a_quote_holds_is_not_read_as_lines() -> None:
    file = envfile.parse(b'foo.bar="first\nINNER=2\n"\nLAST=3\n')
    assert file.values == {"LAST": "3"}
    assert [defect.line for defect in file.defects] == [1]


def test_a_name_alone_asks_for_what_the_environment_has() -> None:
    """As in a file for `docker --env-file`."""
    file = envfile.parse(b"HERE\nABSENT\nexport HERE\n", environment={"HERE"})
    assert file.values == {}
    assert file.defects == (envfile.Defect(2, "no `=`"),)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_is_said(encoding: str) -> None:
    """PowerShell 5 writes it by default."""
    file = envfile.parse("\ufeffKEY=v\n".encode(encoding))
    assert file.values == {}
    assert "UTF-8" in envfile.describe(file.defects)


def test_many_bad_lines_stay_one_sentence() -> None:
    file = envfile.parse(b"GOOD=1\n" + b"bad line\n" * 5000)
    assert file.values == {"GOOD": "1"}
    assert envfile.describe(file.defects) == (
        "is loaded without lines 2, 3, 4, 5, 6 and 4995 more (not NAME=value, or a quote left open)"
    )


# ── the file itself ─────────────────────────────────────────────────────────────────────────


def reason(path: Path) -> str:
    file = envfile.read(str(path))
    assert file.assignments == ()
    return envfile.describe(file.defects)


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=1\r\nB=zwei")
    assert envfile.read(str(tmp_path / ".env")).values == {"A": "1", "B": "zwei"}


def test_no_file_and_the_null_device_are_empty_files(tmp_path: Path) -> None:
    assert envfile.read(str(tmp_path / ".env")) == envfile.EnvFile()
    assert envfile.read(os.devnull) == envfile.EnvFile()


def test_what_is_not_a_file_is_said_at_once(tmp_path: Path, short_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("absent")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    assert "is a directory" in reason(tmp_path / "folder")
    assert "is not a regular file" in reason(tmp_path / "fifo")
    assert "leads nowhere" in reason(tmp_path / "link")
    assert "cannot be read" in reason(tmp_path / "loop")
    assert "cannot be read" in reason(tmp_path / "file/.env")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short_path / "socket"))
        assert "cannot be read" in reason(short_path / "socket")


def test_a_file_of_another_user_is_said(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("SECRET=canary")
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() in {"root", path.owner()} and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    program = "import sys; from tasks.base import envfile; print(envfile.read(sys.argv[1]))"
    # Root may read everything.
    drop = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    answer = subprocess.run(
        [*drop, sys.executable, "-c", program, str(path)],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "cannot be read (Permission denied)" in answer.stdout, answer.stderr
    assert "canary" not in answer.stdout


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / ".env").open("wb") as file:
        file.write(b"A=1\n")
        file.truncate(1 << 40)
    assert "is larger than 128 kB" in reason(tmp_path / ".env")
    assert reason(tmp_path / ".env").endswith("; nothing is loaded from it")


# ── any input ───────────────────────────────────────────────────────────────────────────────

#: What the rules turn on, so that short examples meet all of them.
TRICKY = st.lists(
    st.sampled_from(
        ["A", "B=", "export ", "=", "'", '"', "\\", "#", " ", "\t", "\n", "\r", "\r\n", "\0", "é",
         "$", "`id`", "$(id)", "\udcff", "\ufeff", "\x0b", "\x85", "\u2028", "x", " " * 200]
    ),
    max_size=40,
).map("".join)  # fmt: skip
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=200)


@given(st.binary(max_size=300) | TRICKY.map(lambda text: text.encode("utf-8", "surrogateescape")))
@example(b"\xef\xbb\xbf\xef\xbb\xbf")
def test_any_bytes_give_variables_and_defects_and_no_error(content: bytes) -> None:
    file = envfile.parse(content)
    count = len(re.split(rb"\r\n|\r|\n", content))
    for name, value in file.values.items():
        assert re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)
        assert "\0" not in value
        value.encode()
    for defect in file.defects:
        assert 0 <= defect.line <= count
    # The words for a defect are ours alone.
    vocabulary = {text for _, text in file.defects}
    assert len(vocabulary) <= 7
    if file.defects:
        assert "\n" not in envfile.describe(file.defects)


@given(NAMES, TEXT)
def test_a_quoted_value_comes_back(name: str, value: str) -> None:
    if re.search(r"[^\S\n]{200}", value):
        return
    escaped = value.replace("\\", "\\\\")
    single, double = escaped.replace("'", "\\'"), escaped.replace('"', '\\"')
    assert values_of(f"{name}='{single}'\n") == {name: value}
    assert values_of(f'export {name} = "{double}" # comment') == {name: value}


@given(st.dictionaries(NAMES, st.text(string.ascii_letters + "$&#;|*=-'\"`", min_size=1)))
def test_a_plain_value_comes_back(variables: dict[str, str]) -> None:
    plain = {name: value for name, value in variables.items() if value[0] not in "'\""}
    text = "".join(f"{name}={value}\n" for name, value in plain.items())
    assert values_of(text) == plain


@given(st.text(string.ascii_letters, min_size=8), TRICKY)
def test_no_defect_quotes_the_file(secret: str, tail: str) -> None:
    content = f"{secret} {secret}\n{secret}='{secret}\n{secret}.{secret}=1\n{tail}"
    file = envfile.parse(content.encode("utf-8", "surrogateescape"))
    assert file.defects
    assert f" {secret} " not in f" {envfile.describe(file.defects)} "


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pattern", ["A=x{}y", "A='{}"])
@pytest.mark.parametrize("part", [" ", "\t", " " * 199 + "x", 'A="x\n', "a\n"], ids=repr)
def test_no_pattern_takes_more_than_linear_time(pattern: str, part: str) -> None:
    """A second or two; minutes where a rule takes quadratic time, as python-dotenv's own does."""
    content = pattern.format(part * (200_000 // len(part))).encode()
    assert envfile.parse(content).values.keys() <= {"A"}
