"""Publish a git ref as a snapshot at Daytona: built once, verified, then its stage uses it."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from tasks.base import console, markdown
from tasks.base.errors import BadInput
from tasks.base.options import CommandLine, Parser
from tasks.base.project import ROOT, state_dir
from tasks.daytona import api, remote_road
from tasks.daytona import ledger as ledgers
from tasks.daytona import request as requests
from tasks.daytona import snapshot as stages
from tasks.daytona.credentials import read_credentials
from tasks.daytona.release import ReleaseChecks, release
from tasks.daytona.request import Request
from tasks.github import job
from tasks.sandbox import release_checks

if TYPE_CHECKING:
    import argparse

    from tasks.build.image import Image
    from tasks.daytona.api import Daytona
    from tasks.daytona.request import ResolvedRequest


def make_parser() -> Parser:
    parser = Parser(prog="nox -s snapshot_daytona --", description=__doc__, allow_abbrev=False)
    requests.add_source_options(parser)
    requests.add_publishing_options(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be published; send nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the result on stdout as JSON")
    return parser
