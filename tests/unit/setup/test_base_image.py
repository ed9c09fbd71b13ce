from __future__ import annotations

import pytest

from tasks.setup import base_image


@pytest.mark.parametrize(
    ("text", "seconds", "ends"),
    [
        ("", 5, False),
        ("", 21, True),
        ("trixie-slim: Pulling from library/debian\n", 21, False),
        ("trixie-slim: Pulling from library/debian\n", 901, True),
    ],
)
def test_a_pull_without_signs_is_given_up(text: str, seconds: float, ends: bool) -> None:
    assert bool(base_image.give_up(text, seconds)) is ends


def test_the_suite_comes_from_the_images_name() -> None:
    assert base_image.SUITE == "trixie"
