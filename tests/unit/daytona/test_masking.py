"""The API key is in no message, in whatever form a server repeats it."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from tasks.daytona import masking

KEY = "dtn_" + "0123456789abcdef" * 4
FORMS = [
    KEY,
    KEY.upper(),
    KEY[:30],
    KEY[20:50],
    KEY[::-1],
    quote(KEY, safe=""),
    f"Authorization: Bearer {KEY}",
    f"https://x/?key={KEY}&y",
    base64.b64encode(KEY.encode()).decode(),
    base64.b64encode(f":{KEY}".encode()).decode(),
    base64.b64encode(f"u:{KEY}".encode()).decode(),
    KEY.encode().hex(),
    json.dumps({"authorization": KEY}),
]


@given(st.text(), st.sampled_from(FORMS))
def test_masking_leaves_nothing_of_the_key(text: str, form: str) -> None:
    masked = masking.mask(f"{text} {form}", KEY)
    assert masking.mask(masked, KEY) == masked
    assert form not in masked
    assert "\n" not in masked


@given(st.text(st.characters(codec="ascii", exclude_characters=" "), max_size=200))
def test_masking_keeps_other_words(word: str) -> None:
    assert masking.mask("exceeds maximum allowed per sandbox", KEY) == (
        "exceeds maximum allowed per sandbox"
    )
    masking.mask(word, KEY)
