"""A local Daytona that the real SDK talks to: `with standin.running() as s: …`.

See docs/stand-in.md for what it imitates and what it does not.
"""

from __future__ import annotations

from tasks.standin.faults import Fault
from tasks.standin.service import StandIn, running
from tasks.standin.settings import Settings

__all__ = ["Fault", "Settings", "StandIn", "running"]
