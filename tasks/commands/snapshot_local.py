"""`nox -s snapshot_local`: build the image from the working tree, or from a ref."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tasks import git
from tasks.base import certificates, console, markdown
from tasks.base.errors import BadInput
from tasks.base.options import Parser, add_json, add_ref
from tasks.base.project import LOCAL_IMAGE, ROOT, new_log
from tasks.build import (
    builder,
    context,
    image,
    image_comparison,
    layer_cache,
    parts,
    platforms,
    source,
)
from tasks.engine import discovery
from tasks.git import line_ends, object_cache, refs
from tasks.github import job

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from tasks.build.build_log import Build
    from tasks.build.source import Source
    from tasks.engine.engine import Engine

_ATTEMPTS = 3


def main(arguments: list[str]) -> None:
    options = _parse(arguments)
    tag = image.check_tag(options.tag)
    builder_name = builder.requested_name_of(options.builder)
    layer_cache.from_environment()
    watch = console.Stopwatch()
    platform = platforms.requested_platform()
    build_source = _source(options.ref, platform or platforms.of_machine())
    line_ends.refuse_crlf(build_source.tree, is_ref=build_source.ref is not None)
    report = context.report(build_source)
    result = {**_announce(build_source, report), "image": tag, "context": asdict(report)}
    if options.dry_run:
        _refuse_secrets(build_source, result)
        console.say("largest: " + ", ".join(f"{n} ({console.size(s)})" for n, s in report.largest))
        console.good("dry run: nothing was built")
        _finish(result, json=options.json)
        return
    engine = discovery.require()
    build_source = source.for_platform(
        build_source, platform or platforms.of_engine(engine), build_args=image.BUILD_ARGS
    )
    result |= _record(build_source)
    plan = builder.plan_build(engine, builder_name) if builder_name else None
    existing_image = image.find(engine, tag)
    compared_image = _compared_image(engine, options.compare) if options.compare else None
    if existing_image and _is_current(engine, existing_image, build_source, options):
        console.good(f"{tag} is this source already; nothing to do (-- --force builds it again)")
        built = existing_image
        result |= {"reused": True}
    else:
        with job.log_group(f"Build {tag}"):
            plan = plan or builder.plan_build(engine)
            built = _build(engine, build_source, options, plan, result)
    if compared_image:
        result |= _compare(engine, compared_image, built, options)
    if existing_image and existing_image.id != built.id:
        image.forget(engine, existing_image)
    result |= {"image_id": built.id, "bytes": built.size, "seconds": round(watch.elapsed, 1)}
    _finish(result, json=options.json)


def _is_current(
    engine: Engine,
    existing_image: image.Image,
    build_source: Source,
    options: argparse.Namespace,
) -> bool:
    """Whether there is nothing to build."""
    if options.force or options.no_cache:
        return False
    base = image.base_id(engine)
    is_built = image.is_built(existing_image, build_source, base=base, extra_labels=options.label)
    if not is_built and existing_image.identity == build_source.identity:
        console.step(f"{options.tag} has another base image or other labels: it is built again")
    return is_built


def _compare(
    engine: Engine, first: image.Image, second: image.Image, options: argparse.Namespace
) -> dict[str, Any]:
    changes = image_comparison.compare(engine, first.id, second.id)
    image_comparison.show(changes, options.compare, options.tag)
    return {"differences": [asdict(change) for change in changes]}


def _compared_image(engine: Engine, name: str) -> image.Image:
    """Before the build, which may move the name; raises `BadInput`."""
    compared_image = image.find(engine, name)
    if compared_image is None:
        raise BadInput(
            f"the engine has no image {console.printable(name)} to compare with",
            fix="docker image ls shows those it has",
        )
    return compared_image


def _announce(build_source: Source, report: context.ContextReport) -> dict[str, Any]:
    """Say what is built; the record of it."""
    if requested := platforms.requested_platform():
        console.step(f"platform: {requested}, from {platforms.VARIABLE}")
    console.step(
        f"source: {build_source.describe()}; {report.files} files, {console.size(report.bytes)}; "
        f"identity {build_source.identity[:12]}"
    )
    for note in build_source.tree.all_notes():
        console.warn(note)
    return _record(build_source)


def _record(build_source: Source) -> dict[str, Any]:
    content = source.content(build_source.tree, image.BUILD_ARGS)
    return {**build_source.record(), "content": content}


def _source(ref: str | None, platform: str) -> Source:
    if ref is None:
        return source.from_working_tree(ROOT, build_args=image.BUILD_ARGS, platform=platform)
    repo = git.open_repo(ROOT)
    build_source = source.from_ref(
        repo, refs.resolve(repo, ref), build_args=image.BUILD_ARGS, platform=platform
    )
    changes = repo.count_changes()
    if changes:
        console.warn(f"{changes} uncommitted changes are not in {build_source.sha[:12]}")
    return build_source


def _refuse_secrets(build_source: Source, result: dict[str, Any]) -> None:
    if build_source.ref:
        parts.check(build_source, object_cache.folder())
        return
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            context.refuse_secrets(build_source)
        except context.FileChanged as error:
            build_source = _listed_again(error, build_source, result, last=attempt == _ATTEMPTS)
        else:
            return


def _listed_again(
    error: context.FileChanged, build_source: Source, result: dict[str, Any], *, last: bool
) -> Source:
    """The working tree as it is after a file has changed; raises `error` after the last attempt."""
    if last:
        raise error
    console.warn(f"{error.what}; listing the files again")
    new_source = _source(None, build_source.platform)
    result |= _record(new_source)
    return new_source


def _build(
    engine: Engine,
    build_source: Source,
    options: argparse.Namespace,
    plan: builder.BuildPlan,
    result: dict[str, Any],
) -> image.Image:
    tag = options.tag
    log = new_log("snapshot-local")
    watch = console.Stopwatch()
    build = _run_build(engine, build_source, options, plan, result, log=log)
    built = image.find(engine, tag)
    if built is None:
        raise image.BuildFailed(f"{tag} is not there after its build", step="", fix=f"see {log}")
    executed, cached = build.counts()
    console.good(
        f"{tag} is built: {console.size(built.size)}, {executed} steps executed, {cached} cached, "
        f"in {watch}"
    )
    result |= {"reused": False, "log": str(log), "executed": executed, "cached": cached}
    result |= {"builder": plan.builder.name, "layer_cache": _cache_record(plan, build)}
    return built


def _run_build(
    engine: Engine,
    build_source: Source,
    options: argparse.Namespace,
    plan: builder.BuildPlan,
    result: dict[str, Any],
    *,
    log: Path,
) -> Build:
    """Build, and again where a file has changed meanwhile."""
    bundle = certificates.find_ca_bundle()
    if bundle:
        console.step(f"CA bundle {bundle} goes along as a build secret")
    if plan.cache:
        console.step(f"layer cache: {plan.cache}")
    attempt = 1
    while True:
        try:
            if not build_source.ref:  # of a ref, packing does
                context.refuse_secrets(build_source)
            return image.build(
                engine,
                build_source,
                tag=options.tag,
                log=log,
                ca_bundle=bundle,
                no_cache=options.no_cache,
                extra_labels=options.label,
                plan=plan,
            )
        except context.FileChanged as error:
            build_source = _listed_again(error, build_source, result, last=attempt == _ATTEMPTS)
            attempt += 1


def _cache_record(plan: builder.BuildPlan, log_reader: Build) -> dict[str, Any] | None:
    """How the layer cache fared: `done`, `failed`, `absent`, or None where it was not tried."""
    if plan.cache is None:
        return None
    read, written = log_reader.cache("read"), log_reader.cache("write")
    return {
        "setting": str(plan.cache),
        "read": ("absent" if read.absent else read.state) if read else None,
        "written": written.state if written else None,
    }


def _finish(result: dict[str, Any], *, json: bool) -> None:
    names = ("sha", "identity", "content", "image", "image_id", "reused")
    job.write_outputs(**{name: result.get(name) for name in names})
    if "image_id" in result:
        outcome = "there already" if result["reused"] else "built"
        fields = ("sha", "identity", "image_id", "builder", "executed", "cached", "seconds")
        facts: dict[str, Any] = {name: result.get(name) for name in fields}
        facts["bytes"] = console.size(result["bytes"])
        if layers := result.get("layer_cache"):
            facts["layer cache"] = f"read: {layers['read']}, written: {layers['written']}"
        job.write_summary(
            f"### {markdown.code(result['image'])} is {outcome}\n\n{markdown.facts(facts.items())}"
        )
    if json:
        console.emit_json(result)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s snapshot_local --",
        description="Build the sandbox image from the working tree, or from a commit.",
        allow_abbrev=False,
    )
    meaning = "branch, tag or commit to build, instead of the files on disk"
    add_ref(parser, meaning=meaning, default="")
    parser.add_argument("--tag", default=LOCAL_IMAGE, help="name of the image (%(default)s)")
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    parser.add_argument("--no-cache", action="store_true", help="build every layer anew")
    parser.add_argument(
        "--builder",
        metavar="NAME",
        help=f"buildx builder to build on (default: ${builder.VARIABLE}, then buildx's own choice)",
    )
    parser.add_argument(
        "--compare", metavar="IMAGE", help="say in which files the result differs from that image"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would go in; build nothing"
    )
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE", help="put on the image, too"
    )
    add_json(parser)
    return parser.parse_args(arguments)
