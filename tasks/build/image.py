"""Building the sandbox image with buildx, and finding the one that is there."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from tasks.base import console, process
from tasks.base.errors import BadInput, TaskError
from tasks.base.parsing import parse_json
from tasks.base.project import BASE_IMAGE, DOCKERFILE, LABEL, LOCAL_IMAGE
from tasks.build import base_layout, build_log, builder, context, parts, platforms
from tasks.build.build_display import BuildDisplay
from tasks.engine.errors import EngineDown
from tasks.git import commits, object_cache, settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tasks.build.builder import BuildPlan
    from tasks.build.source import Source
    from tasks.engine.engine import Engine

#: What decides the image beside its source.
BUILD_ARGS: Final = {"BASE_IMAGE": BASE_IMAGE}
IDENTITY_LABEL: Final = f"{LABEL}.identity"
#: The id that the base image had on the engine.
BASE_LABEL: Final = f"{LABEL}.base-id"
#: Build arguments that BuildKit knows by itself: they are in no layer, history or cache key.
PROXIES: Final = frozenset(
    spelled
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
    for spelled in (name, name.lower())
)
_HEARTBEAT: Final = 10.0
_FULL_DISK: Final = re.compile(r"no space left|ENOSPC|disk quota exceeded", re.IGNORECASE)
# The reference grammar of the OCI distribution specification, without a digest.
_TAG: Final = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*(?::[\w][\w.-]{0,127})?"
)


class BuildFailed(TaskError):
    """The build ended with an error; `step` is the Dockerfile step that broke it."""

    code = "build-failed"

    def __init__(self, problem: str, *, step: str, fix: str) -> None:
        super().__init__(problem, fix=fix)
        self.step = step


@dataclass(frozen=True)
class Image:
    """An image on the engine: its id (`sha256:…`), bytes, the identity it was built from, its
    platform (`linux/amd64`) and its labels.
    """

    id: str
    size: int
    identity: str | None
    platform: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)


def check_tag(tag: str) -> str:
    """`tag` if it can name an image; raises `BadInput`."""
    if len(tag) > 255 or not _TAG.fullmatch(tag):
        raise BadInput(
            f"`{console.printable(tag)}` cannot name an image", fix="use a form like name:tag"
        )
    return tag


def find(engine: Engine, tag: str) -> Image | None:
    """The image of that name on the engine, if there is one."""
    result = process.capture(
        engine.command("image", "inspect", tag), env=engine.environment, check=False
    )
    if result.returncode:
        return None
    attributes: dict[str, Any] = parse_json(result.stdout)[0]
    labels = attributes["Config"].get("Labels") or {}
    variant = attributes.get("Variant")
    fields = (attributes["Os"], attributes["Architecture"], *([variant] if variant else []))
    return Image(
        attributes["Id"],
        attributes["Size"],
        labels.get(IDENTITY_LABEL),
        platforms.normalize("/".join(fields)),
        labels,
    )


def base_id(engine: Engine) -> str:
    """The id of the base image that a build on `engine` takes; "" where it has to be pulled."""
    base_image = find(engine, BUILD_ARGS["BASE_IMAGE"])
    return base_image.id if base_image else ""


def is_built(image: Image, source: Source, *, base: str, extra_labels: Sequence[str] = ()) -> bool:
    """Whether `image` is what a build of `source` would give, on the base image `base`."""
    return (
        image.identity == source.identity
        and image.platform == source.platform
        and (not base or image.labels.get(BASE_LABEL) == base)
        and all(image.labels.get(n) == v for n, _, v in (x.partition("=") for x in extra_labels))
    )


def find_source(engine: Engine, source: Source) -> Image | None:
    """The image made of `source`, under a name that this project gives its images.

    Not by the label alone: an image that somebody made from ours has inherited it.
    """
    base = base_id(engine)
    for tag in (LOCAL_IMAGE, tag_of(source)):
        image = find(engine, tag)
        if image and is_built(image, source, base=base):
            return image
    return None


def tag_of(source: Source) -> str:
    """The name of an image that is built to be shipped, whatever is checked out meanwhile."""
    return f"{LOCAL_IMAGE.partition(':')[0]}:{source.identity[:12]}"


def forget(engine: Engine, image: Image) -> None:
    """Delete an image that a build has replaced, unless something still names or runs it."""
    process.capture(engine.command("image", "rm", image.id), env=engine.environment, check=False)


def build(
    engine: Engine,
    source: Source,
    *,
    tag: str,
    log: Path,
    ca_bundle: Path | None = None,
    no_cache: bool = False,
    extra_labels: Sequence[str] = (),
    plan: BuildPlan | None = None,
) -> build_log.Build:
    """Build `source` and name the result `tag`; the whole log goes to the file `log`.
    `extra_labels` are `name=value`. `plan` is made from the environment, unless it is given.

    Wherever it is built, the result is on `engine` afterwards. Raises `BuildFailed`, `EngineDown`
    when the engine ends meanwhile, and `FileChanged` when the working tree changes meanwhile; the
    image of that name stays as it was.
    """
    plan = plan or builder.plan_build(engine)
    base = f"{BASE_LABEL}={base_id(engine)}"
    options = arguments(
        source, tag=tag, ca_bundle=ca_bundle, extra_labels=[base, *extra_labels], plan=plan
    )
    options += _remote_options(engine, plan)
    options += _cache_options(source, plan, no_cache=no_cache)
    with tempfile.TemporaryFile(prefix="iterate-context-") as archive:
        if source.ref:
            parts.write(parts.pack(source, object_cache.folder()), archive)
        else:
            context.write(source, archive)
        size = archive.tell()
        archive.seek(0)
        console.step(f"context: {console.size(size)} packed; building {tag}, log in {log}")
        command = engine.command("buildx", "build", *options, "-")
        log_reader = _run(command, engine.environment, archive, log, plan)
    if plan.cache:
        _say_cache(log_reader)
    return log_reader


def _cache_options(source: Source, plan: BuildPlan, *, no_cache: bool) -> list[str]:
    arch = platforms.arch_of(source.platform)
    shared = plan.cache.options(arch=arch, read=not no_cache) if plan.cache else []
    return [*shared, *(["--no-cache"] if no_cache else [])]


def _remote_options(engine: Engine, plan: BuildPlan) -> list[str]:
    """What a builder needs that is not the engine's: the engine's base image, sent along."""
    if plan.builder.is_engines:
        return []
    console.step(f"builder: {plan.builder}")
    if left_out := plan.proxies_left_out(os.environ, PROXIES):
        console.warn(f"left out, as another machine's loopback: {', '.join(left_out)}")
    name = BUILD_ARGS["BASE_IMAGE"]
    layout = base_layout.of(engine, name)
    # FROM takes a named context for the image of that name, after build arguments are filled in.
    return ["--build-context", f"{name}={layout}"] if layout else []


def _say_cache(log_reader: build_log.Build) -> None:
    verbs: dict[build_log.CacheUse, str] = {"read": "read", "write": "written"}
    for use, verb in verbs.items():
        step = log_reader.cache(use)
        if step and step.state == "failed" and not step.absent:
            console.warn(f"the layer cache could not be {verb}: {console.printable(step.error)}")


def arguments(
    source: Source,
    *,
    tag: str,
    ca_bundle: Path | None = None,
    extra_labels: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
    plan: BuildPlan,
) -> list[str]:
    """The options of `docker buildx build`. Nothing secret stands in them."""
    options = ["--builder", plan.builder.name, "--progress=plain", "--provenance=false"]
    # zstd, since the tar goes through gzip otherwise, at four times the cost.
    options += (
        ["--load"] if plan.builder.is_engines else ["--output", "type=docker,compression=zstd"]
    )
    options += ["--platform", source.platform]
    options += ["--file", "Dockerfile" if source.ref else DOCKERFILE, "--tag", tag]
    for name, value in BUILD_ARGS.items():
        options += ["--build-arg", f"{name}={value}"]
    # BuildKit's own argument: the time that the image names as its creation. It keeps the cache.
    # https://github.com/moby/buildkit/blob/master/docs/build-repro.md
    options += ["--build-arg", f"SOURCE_DATE_EPOCH={_committed(source)}"]
    for name in plan.proxies(environment, PROXIES):
        options += ["--build-arg", name]  # docker takes the value from the environment
    own_labels = [f"{name}={value}" for name, value in labels(source).items()]
    for label in [*own_labels, *extra_labels]:
        options += ["--label", label]
    if ca_bundle:
        options += ["--secret", f"id=ca_bundle,src={ca_bundle}"]
    return options


def _committed(source: Source) -> int:
    return commits.read(source.tree.repo, source.sha).committed


def labels(source: Source) -> dict[str, str]:
    """OCI's own labels, and ours. https://specs.opencontainers.org/image-spec/annotations/"""
    url = settings.origin(source.tree.repo, source.branch)
    return {
        "org.opencontainers.image.revision": source.sha,
        "org.opencontainers.image.ref.name": source.branch or source.sha,
        "org.opencontainers.image.base.name": BUILD_ARGS["BASE_IMAGE"],
        **({"org.opencontainers.image.source": url} if url else {}),
        IDENTITY_LABEL: source.identity,
        f"{LABEL}.dirty": str(source.dirty).lower(),
    }


def _run(
    command: list[str],
    environment: Mapping[str, str],
    archive: IO[bytes],
    log: Path,
    plan: BuildPlan,
) -> build_log.Build:
    log.parent.mkdir(parents=True, exist_ok=True)
    log_reader = build_log.Build()
    child = process.start(
        command,
        env=environment,
        stdin=archive.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        with BuildDisplay(log_reader) as display, log.open("w", encoding="utf-8") as file:
            for raw in child.stdout or ():
                line = raw.decode(errors="replace").rstrip("\n")
                file.write(console.printable_log_line(line) + "\n")
                display.show(log_reader.feed(line))
            status = process.wait(child)
    finally:
        process.stop(child)
        if child.stdout:
            child.stdout.close()
    if status:
        raise _failure(log_reader, log, status, plan)
    return log_reader


def _failure(log_reader: build_log.Build, log: Path, status: int, plan: BuildPlan) -> TaskError:
    step = log_reader.failed_step
    lines = [console.printable(line) for line in (step.output if step else [])]
    if step:
        console.fail(f"failed: {console.printable(step.name)}")
        for line in lines:
            console.say(f"    {line}")
    reason = console.printable(
        log_reader.trailer or (step.error if step else "") or f"status {status}"
    )
    if (
        "error reading from server" in reason or "Cannot connect" in reason
    ) and plan.builder.is_engines:
        return EngineDown(
            f"the engine went away during the build: {reason}",
            fix="nox -s setup starts it; then run this again",
        )
    # The reason alone is "exit code: 1" where a program in the step has met the full disk.
    full = next((line for line in [reason, *lines] if _FULL_DISK.search(line)), "")
    problem = f"a disk is full: {full}" if full else reason
    return BuildFailed(
        f"the build failed: {problem}",
        step=step.name if step else "",
        fix=_advice(problem, log, plan, platform=platforms.requested_platform()),
    )


def _advice(reason: str, log: Path, plan: BuildPlan, *, platform: str | None) -> str:
    needs_base = BASE_IMAGE in reason and any(w in reason for w in ("resolve", "pull", "not found"))
    if platform and (needs_base or "exec format error" in reason):
        return (
            f"{platforms.VARIABLE} asks for {platform}: that needs a base image and an emulator "
            "for it on the engine; unset it to build for the engine's own platform"
        )
    if needs_base:
        return "nox -s setup gets the base image"
    if _FULL_DISK.search(reason):
        option = f" --builder {plan.builder.name}" if not plan.builder.is_engines else ""
        return f"free some disk, for instance with docker buildx prune{option}"
    if "error reading from server" in reason or "Cannot connect" in reason:
        return f"the builder went away; docker buildx inspect {plan.builder.name}"
    return f"the whole log is in {log}"
