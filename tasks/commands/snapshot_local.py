"""`nox -s snapshot_local`: build the image from the working tree, or from a ref."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tasks import git
from tasks.base import certificates, console, markdown
from tasks.base.options import Parser, add_json, add_ref
from tasks.base.project import LOCAL_IMAGE, ROOT, new_log
from tasks.build import builder, context, image, layer_cache, parts, source
from tasks.engine import discovery
from tasks.git import object_cache, refs
from tasks.github import job

if TYPE_CHECKING:
    import argparse

    from tasks.build.build_log import Build
    from tasks.build.source import Source
    from tasks.engine.engine import Engine

_ATTEMPTS = 3


def main(arguments: list[str]) -> None:
    options = _parse(arguments)
    tag = image.check_tag(options.tag)
    named = builder.wanted(options.builder)
    layer_cache.wanted()
    watch = console.Stopwatch()
    found = _source(options.ref)
    report = context.report(found)
    console.step(
        f"source: {found.describe()}; {report.files} files, {console.size(report.bytes)}; "
        f"identity {found.identity[:12]}"
    )
    for note in found.tree.all_notes():
        console.warn(note)
    result: dict[str, Any] = {
        **found.record(),
        "content": source.content(found.tree, image.BUILD_ARGS),
        "image": tag,
        "context": asdict(report),
    }
    if options.dry_run:
        _refuse_secrets(found, result)
        console.say("largest: " + ", ".join(f"{n} ({console.size(s)})" for n, s in report.largest))
        console.good("dry run: nothing was built")
        _finish(result, json=options.json)
        return
    there = discovery.require()
    way = builder.way(there, named) if named else None
    already = image.find(there, tag)
    if already and already.identity == found.identity and not (options.force or options.no_cache):
        console.good(f"{tag} is this source already; nothing to do (-- --force builds it again)")
        built = already
        result |= {"reused": True}
    else:
        with job.log_group(f"Build {tag}"):
            built = _build(there, found, options, way or builder.way(there), result)
        if already and already.id != built.id:
            image.forget(there, already)
    result |= {"image_id": built.id, "bytes": built.size, "seconds": round(watch.elapsed, 1)}
    _finish(result, json=options.json)


def _source(ref: str | None) -> Source:
    if ref is None:
        return source.from_working_tree(ROOT, build_args=image.BUILD_ARGS)
    repo = git.open_repo(ROOT)
    found = source.from_ref(repo, refs.resolve(repo, ref), build_args=image.BUILD_ARGS)
    changes = repo.count_changes()
    if changes:
        console.warn(f"{changes} uncommitted changes are not in {found.sha[:12]}")
    return found


def _refuse_secrets(found: Source, result: dict[str, Any]) -> None:
    if found.ref:
        parts.check(found, object_cache.folder())
        return
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            context.refuse_secrets(found)
        except context.FileChanged as error:
            found = _listed_again(error, result, last=attempt == _ATTEMPTS)
        else:
            return


def _listed_again(error: context.FileChanged, result: dict[str, Any], *, last: bool) -> Source:
    """The working tree as it is after a file has changed; raises `error` after the last attempt."""
    if last:
        raise error
    console.warn(f"{error.what}; listing the files again")
    found = source.from_working_tree(ROOT, build_args=image.BUILD_ARGS)
    result |= {**found.record(), "content": source.content(found.tree, image.BUILD_ARGS)}
    return found


def _build(
    there: Engine,
    found: Source,
    options: argparse.Namespace,
    way: builder.Way,
    result: dict[str, Any],
) -> image.Image:
    tag = options.tag
    log = new_log("snapshot-local")
    bundle = certificates.find_ca_bundle()
    if bundle:
        console.step(f"CA bundle {bundle} goes along as a build secret")
    if way.cache:
        console.step(f"layer cache: {way.cache}")
    watch = console.Stopwatch()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            if not found.ref:  # of a ref, packing does
                context.refuse_secrets(found)
            told = image.build(
                there,
                found,
                tag=tag,
                log=log,
                ca_bundle=bundle,
                no_cache=options.no_cache,
                extra_labels=options.label,
                way=way,
            )
            break
        except context.FileChanged as error:
            found = _listed_again(error, result, last=attempt == _ATTEMPTS)
    built = image.find(there, tag)
    if built is None:
        raise image.BuildFailed(f"{tag} is not there after its build", step="", fix=f"see {log}")
    executed, cached = told.counts()
    console.good(
        f"{tag} is built: {console.size(built.size)}, {executed} steps executed, {cached} cached, "
        f"in {watch}"
    )
    result |= {"reused": False, "log": str(log), "executed": executed, "cached": cached}
    result |= {"builder": way.builder.name, "layer_cache": _cache_record(way, told)}
    return built


def _cache_record(way: builder.Way, told: Build) -> dict[str, Any] | None:
    """How the layer cache fared: `done`, `failed`, `absent`, or None where it was not tried."""
    if way.cache is None:
        return None
    read, written = told.cache("read"), told.cache("write")
    return {
        "setting": str(way.cache),
        "read": ("absent" if read.absent else read.state) if read else None,
        "written": written.state if written else None,
    }


def _finish(result: dict[str, Any], *, json: bool) -> None:
    names = ("sha", "identity", "content", "image", "image_id", "reused")
    job.write_outputs(**{name: result.get(name) for name in names})
    if "image_id" in result:
        how = "there already" if result["reused"] else "built"
        said = ("sha", "identity", "image_id", "builder", "executed", "cached", "seconds")
        facts: dict[str, Any] = {name: result.get(name) for name in said}
        facts["bytes"] = console.size(result["bytes"])
        if layers := result.get("layer_cache"):
            facts["layer cache"] = f"read: {layers['read']}, written: {layers['written']}"
        job.write_summary(
            f"### {markdown.code(result['image'])} is {how}\n\n{markdown.facts(facts.items())}"
        )
    if json:
        console.emit_json(result)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="nox -s snapshot_local --",
        description="Build the sandbox image from the working tree, or from a commit.",
        allow_abbrev=False,
    )
    what = "branch, tag or commit to build, instead of the files on disk"
    add_ref(parser, meaning=what, default="")
    parser.add_argument("--tag", default=LOCAL_IMAGE, help="name of the image (%(default)s)")
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    parser.add_argument("--no-cache", action="store_true", help="build every layer anew")
    parser.add_argument(
        "--builder",
        metavar="NAME",
        help=f"buildx builder to build on (default: ${builder.VARIABLE}, then buildx's own choice)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would go in; build nothing"
    )
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE", help="put on the image, too"
    )
    add_json(parser)
    return parser.parse_args(arguments)
