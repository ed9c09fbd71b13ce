"""What git says when it is refused, as real servers have it, and what people are told of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.daytona import push_errors

RULESET = """\
remote: error: GH013: Repository rule violations found for refs/sandbox/ledger/prd.
remote: Review all repository rules at https://git.example/a/b/rules?ref=refs%2Fsandbox
remote:
remote: - Cannot create ref due to creations being restricted.
remote:
To https://git.example/a/b.git
 ! [remote rejected] 5e -> refs/sandbox/ledger/prd (push declined due to repository rule violations)
error: failed to push some refs to 'https://git.example/a/b.git'
"""
READ_ONLY_KEY = """\
ERROR: The key you are authenticating with has been marked as read only.
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""
FORBIDDEN = """\
remote: Permission to a/b.git denied to ann.
fatal: unable to access 'https://git.example/a/b.git/': The requested URL returned error: 403
"""
HOOK = """\
remote: nobody writes here on a Friday (stale info)
To /srv/b.git
 ! [remote rejected] 5e -> refs/sandbox/ledger/prd (pre-receive hook declined)
error: failed to push some refs to '/srv/b.git'
"""
STALE = """\
To /srv/b.git
 ! [rejected]        5e -> refs/sandbox/ledger/prd (stale info)
error: failed to push some refs to '/srv/b.git'
"""
LOCKED = """\
remote: error: cannot lock ref 'refs/sandbox/ledger/prd': reference already exists
To /srv/b.git
 ! [remote rejected] 5e -> refs/sandbox/ledger/prd (failed to update ref)
error: failed to push some refs to '/srv/b.git'
"""
HIDDEN = """\
To /srv/b.git
 ! [remote rejected] 5e -> refs/sandbox/ledger/prd (deny updating a hidden ref)
error: failed to push some refs to '/srv/b.git'
"""


@pytest.mark.parametrize(
    ("output", "words"),
    [
        pytest.param(
            RULESET, ("creations being restricted", "GH013", "rule violations"), id="rule"
        ),
        pytest.param(READ_ONLY_KEY, ("marked as read only",), id="read-only-key"),
        pytest.param(FORBIDDEN, ("denied to ann", "403"), id="403"),
        pytest.param(HOOK, ("nobody writes here on a Friday", "hook declined"), id="hook"),
        pytest.param(HIDDEN, ("deny updating a hidden ref",), id="hidden-ref"),
    ],
)
def test_a_refusal_is_explained_in_the_words_of_the_server(
    output: str, words: tuple[str, ...]
) -> None:
    explanation = push_errors.explain(output)
    for word in words:
        assert word in explanation
    assert "\n" not in explanation
    assert "failed to push some refs" not in explanation
    assert "correct access rights" not in explanation
    assert not push_errors.is_lost_race(output)


@pytest.mark.parametrize("output", [STALE, LOCKED], ids=["lease", "lock"])
def test_a_lost_race_is_told_from_a_refusal(output: str) -> None:
    assert push_errors.is_lost_race(output)


def test_the_last_line_is_shown_where_nothing_else_tells() -> None:
    assert push_errors.explain("fatal: Could not read from remote repository.\n").endswith(
        "Could not read from remote repository."
    )
    assert push_errors.explain("") == "git gives no reason"


@given(st.text())
def test_any_output_is_explained_in_one_short_line(output: str) -> None:
    assert "\n" not in push_errors.explain(output).replace("\r", "")
    assert len(push_errors.explain(output)) <= 401
    push_errors.is_lost_race(output)
