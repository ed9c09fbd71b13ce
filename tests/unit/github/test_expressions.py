from __future__ import annotations

from typing import Any

import pytest

from tasks.github import expressions
from tasks.github.expressions import BadExpression, Declared, Scope

EVENT = {"pull_request": {"labels": [{"name": "a"}, {"name": "Sandbox"}], "number": 7}}
CONTEXTS = {
    "github": {"event": EVENT, "ref": "refs/heads/main", "head_ref": None},
    "needs": Declared(plan=Declared(result="skipped", outputs=Declared(changed="false"))),
}


def scope(*, failed: bool = False) -> Scope:
    return Scope(
        CONTEXTS,
        {"success": lambda: not failed, "failure": lambda: failed, "always": lambda: True},
    )


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("1 == 1.0", True),
        ("'a' == 'A'", True),
        ("null == ''", True),
        ("'1' == 1", True),
        ("'x' == 0", False),
        ("'it''s'", "it's"),
        ("0x10", 16.0),
        ("!true || 1 < 2 && 2 <= 2", True),
        ("true && 'yes' || 'no'", "yes"),
        ("false && 'yes' || 'no'", "no"),
        ("(1 == 2) == false", True),
        ("github.event.pull_request.number", 7),
        ("github.event.pull_request.title", None),
        ("github['ref']", "refs/heads/main"),
        ("github.head_ref || github.ref", "refs/heads/main"),
        ("github.event.pull_request.labels.*.name", ["a", "Sandbox"]),
        ("contains(github.event.pull_request.labels.*.name, 'sandbox')", True),
        ("contains('abc', 'B')", True),
        ("startsWith(github.ref, 'refs/heads/')", True),
        ("endsWith('abc', 'C')", True),
        ("format('{0}-{{{1}}}', 'a', 2)", "a-{2}"),
        ("fromJSON('[1, 2]')[1]", 2),
        ("join(fromJSON('[1, 2]'))", "1,2"),
        ("needs.plan.outputs.changed != 'true'", True),
        ("needs.*.result", ["skipped"]),
    ],
)
def test_values(body: str, value: Any) -> None:
    assert expressions.evaluate(body, scope()) == value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("nobody.knows", "no context `nobody`"),
        ("needs.plann.result", "no `plann`"),
        ("needs.plan.outputs.chnaged == 'x'", "no `chnaged`"),
        ("false && needs.typo", "no `typo`"),
        ("hashFiles('x')", "no function `hashFiles`"),
        ("contains('x')", "does not take"),
        ("'open", "cannot be read"),
        ("1 ==", "ends too early"),
        ("(1", "is missing"),
        ("1 2", "cannot be read from"),
        ("a;b", "cannot be read"),
        ("format('{1}', 1)", "no value for every place"),
    ],
)
def test_what_is_not_known_is_an_error(body: str, said: str) -> None:
    with pytest.raises(BadExpression, match=said.replace("(", r"\(")):
        expressions.evaluate(body, scope())


def test_a_condition_holds_only_while_nothing_failed() -> None:
    assert expressions.condition("github.ref != ''", scope())
    assert not expressions.condition("github.ref != ''", scope(failed=True))
    assert expressions.condition("always()", scope(failed=True))
    assert expressions.condition("${{ failure() && github.ref != '' }}", scope(failed=True))
    assert not expressions.condition("contains('success()', 'x') || 1 == 1", scope(failed=True))


def test_text_around_a_condition_is_refused() -> None:
    with pytest.raises(BadExpression, match="always true"):
        expressions.condition("${{ false }} ", scope()) or expressions.condition(
            "x${{ false }}", scope()
        )


def test_templates() -> None:
    assert expressions.template("a-${{ github.ref }}-${{ 'x}}' }}", scope()) == (
        "a-refs/heads/main-x}}"
    )
    assert expressions.template("${{ github.event.pull_request.number }}", scope()) == 7
    assert expressions.template("nothing", scope()) == "nothing"


def test_what_an_expression_reads() -> None:
    body = "needs.plan.outputs.action == 'it''s' && contains(github.ref, 'x') && true"
    assert expressions.names(body) == [["needs", "plan", "outputs", "action"], ["github", "ref"]]
    assert expressions.texts(body) == ["it's", "x"]
