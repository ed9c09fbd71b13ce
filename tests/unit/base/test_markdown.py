"""Foreign text in Markdown: whatever is in it, GitHub shows that text and nothing else."""

from __future__ import annotations

import html
import re

from hypothesis import given

from tasks.base import markdown
from tests.support import hostile


@given(hostile.TEXTS)
def test_plain_leaves_no_markup_mention_or_link(text: str) -> None:
    safe = markdown.plain(text)
    assert "\n" not in safe
    assert "\r" not in safe
    source = re.sub(r"&#?\w+;", "", safe)
    assert not re.search(r"[&<>|`\[\]*_~\\#]|://|www\.", source, re.IGNORECASE)
    # GitHub looks for mentions and references after it has resolved entities.
    assert not re.search(r"@\w|#\d", html.unescape(safe))


@given(hostile.TEXTS)
def test_code_is_one_cell_and_one_span(text: str) -> None:
    safe = markdown.code(text)
    assert "\n" not in safe
    assert "|" not in safe
    if safe.startswith("`"):
        fence = re.match("`+", safe)
        assert fence
        inside = safe[len(fence[0]) : -len(fence[0])]
        assert len(fence[0]) not in {len(run) for run in re.findall("`+", inside)}
        assert safe.endswith(fence[0])


def test_plain_and_code_of_well_known_texts() -> None:
    assert markdown.plain("see @ann, #12 & <b>") == (
        "see @&#8203;ann, &#35;&#8203;12 &amp; &lt;b&gt;"
    )
    assert markdown.plain("https://a.example") == "https&#58;//a.example"
    assert markdown.code("x") == "`x`"
    assert markdown.code("a`b") == "`` a`b ``"
    assert markdown.code("a|b") == "<code>a&#124;b</code>"
    assert markdown.code(" ") == ""


def test_facts_leave_out_names_without_a_value() -> None:
    facts = markdown.facts([("commit", "abc"), ("none", None), ("reused", False)])
    assert facts.splitlines()[2:] == ["| commit | `abc` |", "| reused | `false` |"]
