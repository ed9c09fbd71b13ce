from __future__ import annotations

import pytest

from tasks import image
from tasks.errors import BadInput


@pytest.mark.parametrize(
    "tag", ["a", "a:b", "a/b:c", "iterate-sandbox:local", "localhost:5000/a/b:1.2"]
)
def test_names_an_engine_takes(tag: str) -> None:
    assert image.check_tag(tag) == tag


@pytest.mark.parametrize(
    "tag",
    ["", "A:b", "-a", "--push", "a b", "a:b:c", "a:", "a//b", "a:\n", "x" * 256, "ü", "a:b@c"],
)
def test_names_it_does_not_take_are_refused_before_any_work(tag: str) -> None:
    with pytest.raises(BadInput) as caught:
        image.check_tag(tag)
    assert "\n" not in str(caught.value)
    assert caught.value.fix
