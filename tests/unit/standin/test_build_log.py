from __future__ import annotations

from daytona_standin import build_log

PLAIN = """\
#0 building with "default" instance using docker driver

#1 [internal] load remote build context
#1 DONE 0.0s

#4 [1/3] FROM docker.io/library/debian:trixie-slim
#4 CACHED

#5 [2/3] RUN echo one
#5 0.213 one
#5 0.214 #6 not an event
#5 DONE 0.3s

#6 [3/3] RUN false
#6 ERROR: process "/bin/sh -c false" did not complete successfully: exit code: 1
------
 > [3/3] RUN false:
------
Dockerfile:3
--------------------
ERROR: failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 1
"""


def test_the_log_has_the_form_of_daytonas_runner() -> None:
    assert list(build_log.convert(iter(PLAIN.splitlines()))) == [
        "#1 [internal] load remote build context",
        "#4 [1/3] FROM docker.io/library/debian:trixie-slim",
        "#4 CACHED [1/3] FROM docker.io/library/debian:trixie-slim",
        "#5 [2/3] RUN echo one",
        "one",
        "#6 not an event",
        "#6 [3/3] RUN false",
        'ERROR: process "/bin/sh -c false" did not complete successfully: exit code: 1',
        PLAIN.splitlines()[-1],
    ]


def test_the_reason_is_the_last_error_of_the_builder() -> None:
    assert build_log.failure_reason(PLAIN.splitlines()).startswith("failed to solve: process")
    assert (
        build_log.failure_reason(["unable to reach the engine", ""]) == "unable to reach the engine"
    )
    assert build_log.failure_reason([]) == ""
