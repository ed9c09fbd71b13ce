"""Test how the image is built: what gets in, what is reused, what a failure leaves behind."""

from __future__ import annotations

from tasks import engine, process, settings
from tasks.commands.arguments import Parser


def main(arguments: list[str]) -> None:
    parser = Parser(prog="nox -s image_test --", description=__doc__, allow_abbrev=False)
    parser.add_argument("-k", metavar="EXPR", help="only tests that match, as pytest's -k")
    parser.add_argument("-x", action="store_true", help="end at the first failure")
    options = parser.parse_args(arguments)
    engine.require()
    chosen = [*(["-k", options.k] if options.k else []), *(["-x"] if options.x else [])]
    process.run(["pytest", "tests/image", "-v", "--durations=5", *chosen], cwd=settings.ROOT)
