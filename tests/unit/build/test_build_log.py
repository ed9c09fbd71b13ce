from __future__ import annotations

from tasks.build import build_log

# As `docker buildx build --progress=plain` of buildx 0.13.1 printed it, shortened.
FAILED_BUILD = """\
#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 8.33kB done
#1 DONE 0.0s

#5 [system 2/3] RUN --mount=type=cache,target=/var/cache/apt apt-get update
#5 CACHED

#6 [pi 2/2] RUN sh npm-tool.sh pi
#6 0.321 npm start
#6 ...

#7 [bun 2/2] RUN sh npm-tool.sh bun
#7 3.1 added 3 packages
#7 DONE 3.2s

#6 [pi 2/2] RUN sh npm-tool.sh pi
#6 1.734 npm error code ETARGET
#6 1.734
#6 1.735 npm error notarget No matching version found
#6 ERROR: process "/bin/sh -c sh npm-tool.sh pi" did not complete successfully: exit code: 1

#8 [claude 2/2] RUN sh npm-tool.sh claude
#8 CANCELED
------
 > [pi 2/2] RUN sh npm-tool.sh pi:
1.735 npm error notarget No matching version found
------
Dockerfile:91
--------------------
  90 |     COPY --from=pins /pins/X /pins/
  91 | >>> RUN sh npm-tool.sh pi
--------------------
ERROR: failed to solve: process "/bin/sh -c sh npm-tool.sh pi" did not complete: exit code: 1
"""


def fed(text: str) -> build_log.Build:
    build = build_log.Build()
    for line in text.splitlines():
        build.feed(line)
    return build


def test_a_failed_build_names_its_step_and_last_lines() -> None:
    build = fed(FAILED_BUILD)
    assert build.failed_step is not None
    assert build.failed_step.name == "[pi 2/2] RUN sh npm-tool.sh pi"
    assert list(build.failed_step.output)[-1] == "npm error notarget No matching version found"
    assert build.trailer.endswith("exit code: 1")
    assert build.counts() == (3, 1)
    assert build.steps[7].seconds == 3.2


def test_running_steps_are_known_at_any_moment() -> None:
    build = fed("\n".join(FAILED_BUILD.splitlines()[:12]))
    assert [step.name for step in build.running] == ["[pi 2/2] RUN sh npm-tool.sh pi"]


def test_output_is_bounded_and_noise_is_ignored() -> None:
    lines = [f"#6 {n}.0 line {n}" for n in range(1000)]
    build = fed("#6 [a 1/1] RUN x\n" + "\n".join(lines) + "\n#x y\n\n# 6 z\n#6\n")
    assert list(build.steps[6].output) == [f"line {n}" for n in range(985, 1000)]
    assert len(build.steps) == 1


def test_internal_steps_are_not_counted_but_their_failure_is_found() -> None:
    name = "#2 [internal] load metadata for docker.io/library/debian:trixie-slim"
    build = fed(f"{name}\n#2 ERROR: failed to do request: dial tcp: no such host\n")
    assert build.counts() == (0, 0)
    assert build.failed_step is not None
    assert "no such host" in build.failed_step.error


# BuildKit 0.13 with `--cache-from` and `--cache-to …,ignore-error=true`; first nobody answers.
NO_CACHE = """\
#4 importing cache manifest from 127.0.0.1:5/x/y:c
#4 ERROR: failed to configure registry cache importer: dial tcp 127.0.0.1:5: connection refused

#7 [one 1/2] RUN make
#7 DONE 1.2s

#9 exporting to docker image format
#9 DONE 1.7s

#11 exporting cache to registry
#11 preparing build cache for export 0.1s done
#11 writing layer sha256:2c1ce4 done
#11 ERROR: error writing layer blob: dial tcp 127.0.0.1:5: connect: connection refused
------
 > importing cache manifest from 127.0.0.1:5/x/y:c:
------
"""
FETCHED_LAYERS = """\
#4 importing cache manifest from 127.0.0.1:5000/x/y:c
#4 inferred cache manifest type: application/vnd.oci.image.manifest.v1+json done
#4 DONE 0.0s

#7 [one 1/2] RUN make
#7 CACHED

#8 [two 2/3] COPY --link --from=one /x /x
#8 sha256:2fa7a5 193B / 193B done
#8 extracting sha256:3bb026
#8 extracting sha256:3bb026 1.9s done
#8 DONE 2.2s

#8 [two 2/3] COPY --link --from=one /x /x
#8 extracting sha256:2fa7a5 0.0s done
#8 DONE 2.2s

#11 [four 1/1] COPY --link --from=one /x /x
#11 extracting sha256:517272
#11 ...

#9 [two 3/3] COPY new /src
#9 merging done
#9 DONE 0.1s

#10 [three 1/2] FROM debian:trixie-slim
#10 extracting sha256:3bb026 1.9s done
#10 DONE 2.0s
"""


def test_a_cache_that_is_away_fails_no_build() -> None:
    build = fed(NO_CACHE)
    assert build.failed_step is None
    read, write = build.cache("read"), build.cache("write")
    assert read is not None
    assert write is not None
    assert (read.state, write.state) == ("failed", "failed")
    assert read.error.endswith("connection refused")
    assert build.counts() == (1, 0)


def test_the_step_that_broke_is_named_although_the_cache_failed_first() -> None:
    failing_step = NO_CACHE.replace(
        "#7 DONE 1.2s", "#7 ERROR: process did not complete: exit code: 2"
    )
    failed_step = fed(failing_step).failed_step
    assert failed_step is not None
    assert failed_step.name == "[one 1/2] RUN make"


def test_what_a_shared_cache_had_counts_as_cached() -> None:
    build = fed(FETCHED_LAYERS)
    assert build.counts() == (2, 3)
    assert {n: s.state for n, s in build.steps.items() if not s.internal} == {
        7: "cached",
        8: "cached",
        9: "done",
        10: "done",
        11: "cached",
    }
    read = build.cache("read")
    assert read is not None
    assert read.state == "done"
    assert build.cache("write") is None
