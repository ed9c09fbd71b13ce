"""Our Dockerfile is one that every builder accepts; each rule notices what it is there for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.project import DOCKERFILE, ROOT
from tasks.build import dockerfile

TEXT = (ROOT / DOCKERFILE).read_text()
FINE = 'ARG B=x:1\nFROM ${B} AS one\nCOPY a b ./\nENTRYPOINT ["/e"]\n'


def test_ours_is_clean() -> None:
    assert dockerfile.lint(TEXT) == []


def test_the_pins_stand_at_the_top() -> None:
    pins = dockerfile.pins(TEXT)
    assert {
        "SANDBOX_OPENCODE_VERSION",
        "SANDBOX_CLAUDE_CODE_VERSION",
        "SANDBOX_PI_CODING_AGENT_VERSION",
        "SANDBOX_BUN_VERSION",
    } < set(pins)
    assert all(value[0].isdigit() for value in pins.values())
    instructions = dockerfile.parse(TEXT)
    last_pin = max(i.line for i in instructions
                   if i.keyword == "ENV" and i.value.startswith("SANDBOX_"))  # fmt: skip
    assert last_pin < 35
    # One RUN stands above them, that of the Debian packages: a bumped pin does not repeat it.
    earlier_runs = [i for i in instructions if i.keyword == "RUN" and i.line < last_pin]
    assert ["apt-get" in run.value for run in earlier_runs] == [True]


def test_every_container_has_the_pins_and_no_tool_is_installed_below_them() -> None:
    """The final stage inherits from the stage that sets them; no stage that installs does."""
    bases: dict[str, str] = {}
    stage = pin_stage = ""
    installing_stages: set[str] = set()
    for instruction in dockerfile.parse(TEXT):
        if instruction.keyword == "FROM":
            base, _, stage = instruction.operands
            bases[stage] = base
        elif instruction.keyword == "ENV" and instruction.value.startswith("SANDBOX_"):
            pin_stage = stage
        elif instruction.keyword == "RUN" and "install " in instruction.value:
            installing_stages |= {stage} if "install -d" not in instruction.value else set()

    def inherits_pins(name: str) -> bool:
        return name == pin_stage or (name in bases and inherits_pins(bases[name]))

    assert inherits_pins(stage)
    assert not [name for name in installing_stages if inherits_pins(name)]


@pytest.mark.parametrize(
    ("text", "line", "description"),
    [
        ("# syntax=docker/dockerfile:1\n" + FINE, 1, "directive"),
        ("# escape=`\n" + FINE, 1, "directive"),
        (FINE.rstrip(), 4, "newline"),
        (FINE + 'ENTRYPOINT ["/f"]\n', 5, "second ENTRYPOINT"),
        (FINE.replace('["/e"]', "/e"), 4, "JSON array"),
        (FINE.replace('["/e"]', '["/e", \\\n "x"]'), 4, "JSON array"),
        (FINE.replace('ENTRYPOINT ["/e"]\n', ""), 1, "no ENTRYPOINT"),
        ("# the ENTRYPOINT is below\n" + FINE, 1, "word ENTRYPOINT"),
        (FINE + "ADD a b\n", 5, "ADD"),
        (FINE + 'CMD ["x"]\n', 5, "CMD"),
        (FINE + "ONBUILD COPY a b\n", 5, "ONBUILD"),
        (FINE + "COPY $X b\n", 5, "variable"),
        (FINE + "COPY --from=${X} a b\n", 5, "variable"),
        (FINE + "COPY a \\\n b ./\n", 5, "several lines"),
        (FINE + "COPY it's ./\n", 5, "apostrophe"),
        (FINE + "COPY /etc/hosts ./\n", 5, "from the host"),
        (FINE + "COPY ../x ./\n", 5, "from the host"),
        (FINE + "COPY a* ./\n", 5, "differ on what"),
        (FINE + "COPY --exclude=x . ./\n", 5, "--exclude"),
        (FINE + "COPY <<EOF /x\nADD\nEOF\n", 5, "heredoc"),
        (FINE + "RUN --mount=type=bind,source=a,target=/a x\n", 5, "bind mount"),
        (FINE + "RUN --mount=target=/a x\n", 5, "bind mount"),
        (FINE + "RUN --mount=type=ssh x\n", 5, "ssh"),
        (FINE + "RUN --mount=type=secret,id=a,required=true x\n", 5, "required secret"),
        (FINE.replace("B=x:1", "B"), 1, "no default"),
        (FINE + "ARG OTHER\n", 5, "no default"),
        (FINE.replace("x:1", "x:latest"), 2, "tag"),
        (FINE.replace("x:1", "registry:5000/x"), 2, "tag"),
        (FINE + "FROM x\n", 5, "tag"),
    ],
)
def test_what_strays_is_found_on_its_line(text: str, line: int, description: str) -> None:
    findings = dockerfile.lint(text)
    assert [(f.line, description in f.what) for f in findings if f.line == line][:1] == [
        (line, True)
    ], findings


@pytest.mark.parametrize(
    "line",
    [
        "RUN --mount=type=cache,target=/c --mount=type=secret,id=a x",
        "RUN --mount=type=bind,from=one,source=/a,target=/a x",
        "COPY --from=one --chown=1:1 /a b",
        "COPY --from=one \\\n  /a b",
        "FROM one AS two",
        "FROM scratch",
        "ARG B",
        'HEALTHCHECK --interval=1s \\\n  CMD ["x"]',
        "RUN echo 'ADD COPY'",
    ],
)
def test_what_every_builder_takes_passes(line: str) -> None:
    assert dockerfile.lint(FINE + line + "\n") == []


@pytest.mark.parametrize(
    ("text", "pins"),
    [
        ("ENV SANDBOX_A_VERSION=1.2", {"SANDBOX_A_VERSION": "1.2"}),
        ("env SANDBOX_A_VERSION 1.2", {"SANDBOX_A_VERSION": "1.2"}),
        ('ENV X=1 SANDBOX_A_VERSION="1.2" SANDBOX_B_VERSION=\'3\'',
         {"SANDBOX_A_VERSION": "1.2", "SANDBOX_B_VERSION": "3"}),
        ("ENV SANDBOX_A_VERSION=1 \\\n  # why\n  SANDBOX_B_VERSION=2\r\n",
         {"SANDBOX_A_VERSION": "1", "SANDBOX_B_VERSION": "2"}),
        ("RUN <<EOF\nENV SANDBOX_A_VERSION=1\nEOF\n", {}),
        ("# ENV SANDBOX_A_VERSION=1\n", {}),
        ("ENV SANDBOX_A_VERSION=1\nENV SANDBOX_A_VERSION=2", {"SANDBOX_A_VERSION": "2"}),
        ("ARG SANDBOX_A_VERSION=1", {}),
    ],
)  # fmt: skip
def test_pins_in_every_form_of_env(text: str, pins: dict[str, str]) -> None:
    assert dockerfile.pins(text) == pins


@given(st.text("RUNENVCOPY <\\\n#='\"a-", max_size=80))
def test_any_text_is_read_without_a_crash(text: str) -> None:
    lines = [instruction.line for instruction in dockerfile.parse(text)]
    assert lines == sorted(lines)
