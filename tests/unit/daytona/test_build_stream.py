from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from tasks.daytona.build_stream import LogLines

LOG = "#1 [stage 1/2] RUN a\n#1 0.1 ünï\r\n\n#1 DONE 0.2s\nno line break at the end".encode()


def feed_all(lines: LogLines, *chunks: bytes) -> list[str]:
    return [line for chunk in chunks for line in lines.feed(chunk)]


def lines_of(log: bytes) -> list[str]:
    return [line.removesuffix("\r") for line in log.decode().split("\n")]


@given(cuts=st.lists(st.integers(0, len(LOG)), max_size=8))
def test_lines_are_whole_however_they_come(cuts: list[int]) -> None:
    lines = LogLines()
    at = [0, *sorted(cuts), len(LOG)]
    output = feed_all(lines, *(LOG[a:b] for a, b in itertools.pairwise(at)))
    assert [*output, *lines.rest()] == lines_of(LOG)


@given(cut=st.integers(0, len(LOG)), seed=st.integers())
def test_no_line_is_repeated_after_a_new_connection(cut: int, seed: int) -> None:
    """F23: cut at a random byte, and begun again from the first one."""
    rng = random.Random(seed)  # noqa: S311 - replayed by hypothesis
    lines = LogLines()
    output = feed_all(lines, LOG[:cut])
    for _ in range(rng.randrange(3)):
        lines.connected()
        output += feed_all(lines, LOG[: rng.randrange(len(LOG))])
    lines.connected()
    output += feed_all(lines, LOG)
    assert [*output, *lines.rest()] == lines_of(LOG)


def test_another_log_is_read_from_its_beginning() -> None:
    lines = LogLines()
    assert feed_all(lines, b"one\ntwo\n") == ["one", "two"]
    lines.connected()
    assert feed_all(lines, b"other\nthree\n") == ["other", "three"]
