"""Nothing that a request asks for is silently ignored.

The stand-in must never be more lenient than the server. What the server would refuse is refused
here (400); what the server would do and the stand-in cannot is answered with 501.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from daytona_standin.errors import ApiRefusal, not_imitated

#: Any value of this field or parameter is carried out.
ANY: Final = None
#: Name → `ANY`, or the values that ask for nothing beyond what the stand-in does anyway.
Imitated: TypeAlias = Mapping[str, tuple[object, ...] | None]


def refuse_unimitated(values: Mapping[str, Any], imitated: Imitated, *, place: str) -> None:
    """Raise 501 for the first name of `values` that is not imitated, or not with that value.

    None counts as absent, as it does at the server. A name that the server does not know either is
    refused as well: a newer server may act on it.
    """
    for name, value in values.items():
        if value is None:
            continue
        accepted = imitated.get(name, ())
        if accepted is ANY:
            continue
        if not any(type(value) is type(harmless) and value == harmless for harmless in accepted):
            exception = f" with a value other than {_text(accepted)}" if accepted else ""
            raise not_imitated(f"`{name}` {place}{exception}")


def _text(values: tuple[object, ...]) -> str:
    return " or ".join(repr(value) for value in values)


def check_model(model: Any, body: Mapping[str, Any]) -> None:
    """Raise 400 unless `model`, generated from the server's interface, accepts `body`."""
    try:
        model.from_dict(dict(body))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ApiRefusal(400, _explain(error)) from error


def _explain(error: Exception) -> str:
    """What the server says in such a case: each field with its complaint, joined by commas."""
    if not hasattr(error, "errors"):
        return f"the body does not have the expected form: {error}"
    complaints = error.errors(include_url=False, include_input=False)
    return ", ".join(
        f"{'.'.join(str(step) for step in complaint['loc']) or 'body'}: {complaint['msg']}"
        for complaint in complaints
    )
