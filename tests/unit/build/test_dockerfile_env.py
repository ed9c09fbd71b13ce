"""An edit changes the characters of the version and nothing else, in every form ENV has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.errors import BadInput
from tasks.base.project import DOCKERFILE, ROOT
from tasks.build import dockerfile, dockerfile_env
from tasks.bump import pins

A = "SANDBOX_A_VERSION"
FORMS = [
    f"ENV {A}=@\n",
    f"ENV {A}=@",
    f"ENV {A}=@\r\n",
    f"\ufeffENV {A}=@\n",
    f'ENV {A}="@"\n',
    f"ENV {A}='@'\n",
    f"ENV {A} @\n",
    f"env\t{A}   @  \r\n",
    f"ENV X=1 {A}=@ Y=2\n",
    f'ENV X="a {A}=7 b" {A}="@"   Y=\'c\'\n',
    f"ENV X=a\\ {A}=7 {A}=@\n",
    f"ENV X=1 \\\n    {A}=@ \\\n    Y=2\n",
    f"ENV X=1 \\\r\n  # {A}=7\r\n\r\n    {A}=@\r\n",
    f"ENV \\\n  {A}=@\n",
    f"   ENV {A}=@\n",
    f"# ENV {A}=7\nENV {A}=@\n",
    f"RUN <<EOF\nENV {A}=7\nEOF\nENV {A}=@\n",
    f"RUN <<-'EOF' cat\n\tENV {A}=7\n\tEOF\nENV {A}=@\n",
    f"RUN <<A <<B\nENV {A}=7\nA\nENV {A}=8\nB\nENV {A}=@\n",
    f'RUN echo "ENV {A}=7" \\\n ENV {A}=8\nENV {A}=@\n',
    f"ARG {A}=7\nENV {A}=@\nRUN echo ${A} {A}=7\n",
    f"LABEL x={A}=7\nENV {A}=@ {A}X=7 X{A}=8\n",
    f"# escape=`\nENV X=C:\\ {A}=@ `\n  Y=1\n",
    f"ENV {A}=@\nENV OTHER=${{{A}}}\n",
    f"ENV X=y\\\\\nENV {A}=@\n",
]


def only_definition(text: str, name: str) -> dockerfile_env.Definition:
    return dockerfile_env.single_definition(dockerfile_env.definitions(text), name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("new", ["2.0.0", "1.2.3-beta.1+x", "10.20.30"])
def test_only_the_version_changes(form: str, new: str) -> None:
    old = form.replace("@", "1.2.3")
    assert only_definition(old, A).value == "1.2.3"
    assert dockerfile_env.replace(old, {A: new}) == form.replace("@", new)
    assert dockerfile.pins(old) == {A: "1.2.3"} or f"{A}X" in dockerfile.pins(old)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no ENV line"),
        (f"# ENV {A}=1\n", "no ENV line"),
        (f"ARG {A}=1\n", "no ENV line"),
        (f"ENV {A}X=1\n", "no ENV line"),
        (f"ENV {A.lower()}=1\n", "no ENV line"),
        (f"ENV {A}=1\nENV {A}=1\n", "lines 1 and 2"),
        (f"FROM x\nENV {A}=1\nFROM y\nENV {A}=2\n", "lines 2 and 4"),
        (f"ENV {A}=1 {A}=2\n", "more than once"),
        (f"ENV {A}=${{B}}\n", "refers to another"),
        (f"ENV {A}=1.$B\n", "refers to another"),
        (f"ENV {A}=1.\\\n2\n", "over several lines"),
        (f"ENV {A}=\n", "nothing"),
        (f'ENV {A}=""\n', "nothing"),
        (f'ENV {A}="1"2\n', "no plain version"),
        (f"ENV {A} 1 # why\n", "no plain version"),
    ],
)
def test_what_cannot_be_edited_is_explained(text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        dockerfile_env.replace(text, {A: "2"})


@pytest.mark.parametrize("value", ["", "1 2", "1\n", "$(x)", '1"', "1\\", "1'2", "a/../b", "é"])
def test_what_is_no_version_is_not_written(value: str) -> None:
    with pytest.raises(BadInput, match="cannot be the value"):
        dockerfile_env.replace(f"ENV {A}=1\n", {A: value})


TEXT = (ROOT / DOCKERFILE).read_bytes().decode()
NUMBERS = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){2}(-[a-z]{1,5}\.[0-9]{1,8})?", fullmatch=True)
VARIABLES = [pin.variable for pin in pins.PINS]


@given(st.dictionaries(st.sampled_from(VARIABLES), NUMBERS), st.booleans())
def test_ours_comes_back_byte_for_byte(values: dict[str, str], crlf: bool) -> None:
    """Every other line is as it was, and the way back gives the very same text."""
    old = TEXT.replace("\n", "\r\n") if crlf else TEXT
    was = {name: only_definition(old, name).value for name in values}
    new = dockerfile_env.replace(old, values)
    assert dockerfile_env.replace(new, was) == old
    assert pins.current_versions(new) == pins.current_versions(old) | values
    for old_line, new_line in zip(old.split("\n"), new.split("\n"), strict=True):
        name = next((n for n in values if old_line.startswith(f"ENV {n}=")), None)
        expected = old_line.replace(f"={was[name]}", f"={values[name]}", 1) if name else old_line
        assert new_line == expected


@given(st.text(f"ENV{A[:3]}= \\\n\r#\"'$<1.", max_size=60), st.sampled_from(FORMS))
def test_any_surroundings_stay(junk: str, form: str) -> None:
    """Whatever stands around: the edit is refused, or only the version differs."""
    text = junk + "\n" + form.replace("@", "1.2.3") + junk
    try:
        definition = only_definition(text, A)
        new = dockerfile_env.replace(text, {A: "9.9.9"})
    except BadInput:
        return
    assert new[: definition.start] == text[: definition.start]
    assert new[definition.start :].removeprefix("9.9.9") == text[definition.end :]


def test_every_pin_has_a_row_and_every_row_a_line() -> None:
    assert pins.current_versions(TEXT) == dockerfile.pins(TEXT)
    with pytest.raises(BadInput, match=r"SANDBOX_NEW_VERSION.*not a known pin"):
        pins.current_versions(TEXT + "ENV SANDBOX_NEW_VERSION=1\n")
    with pytest.raises(BadInput, match="no ENV line sets SANDBOX_BUN_VERSION"):
        pins.current_versions(TEXT.replace("ENV SANDBOX_BUN_VERSION", "ARG SANDBOX_BUN_VERSION"))
