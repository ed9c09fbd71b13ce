"""Asks the registries, all pins side by side, and decides for each what replaces it."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tasks.base import console, files, process
from tasks.base.errors import TaskError
from tasks.bump import locks, policy, semver
from tasks.bump.pins import NODE
from tasks.bump.policy import Held, Wish
from tasks.bump.registries import config, npm, pypi
from tasks.bump.registries.client import Client
from tasks.bump.registries.model import NotPublished, Unknown, mapping, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tasks.bump.pins import Pin
    from tasks.bump.registries.model import Package, Release

_FULL: Final = "application/json"
_SHORT: Final = "application/vnd.npm.install-v1+json"
#: A machine's clock may differ so much from the registry's before that is worth a word.
_SKEW: Final = timedelta(minutes=5)
#: Seconds for which npm's verdict on a tree is believed.
_FRESH: Final = 6 * 3600
#: How many releases, newest first, are tried in full before a pin stays as it is.
_MOST_TRIES: Final = 12


@dataclass(frozen=True)
class Outcome:
    """What is to become of one pin. `release` is what replaces it, None when it stays; `error` says
    why nothing could be found out. `lock` is missing while nothing is to be written.
    """

    pin: Pin
    version: str
    release: Release | None = None
    lock: str = ""
    why: str = ""
    held: tuple[Held, ...] = ()
    notices: tuple[str, ...] = ()
    error: str = ""
    package: Package | None = None
    relock: bool = False

    @property
    def target(self) -> str:
        return self.release.text if self.release else self.version

    @property
    def moves(self) -> bool:
        return self.target != self.version

    @property
    def changes(self) -> bool:
        """Whether anything is to be written: a version, or a lock file that is not there."""
        return self.release is not None and (self.moves or self.relock)


@dataclass(frozen=True)
class Survey:
    """`now` is the clock that the cool-down went by, and `clock` says whose it is."""

    outcomes: tuple[Outcome, ...]
    now: datetime
    clock: str

    @property
    def changes(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.changes)

    @property
    def errors(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.error)


@dataclass
class Registries:
    """The registries of one run: they share connections, and short forms are kept."""

    root: Path
    _settings: Future[dict[str, Any]] = field(default_factory=Future)
    _clients: dict[str, Client] = field(default_factory=dict)
    _dates: list[tuple[datetime, datetime]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    _short: dict[str, frozenset[str]] = field(default_factory=dict)

    def load(self) -> None:
        """Read npm's settings; meant to run beside other things."""
        try:
            self._settings.set_result(config.npm_settings(self.root))
        except BaseException as error:  # noqa: BLE001 - it reaches whoever asks
            self._settings.set_exception(error)

    def package(self, pin: Pin) -> Package:
        """Raises `Unknown`, or whatever is wrong with the configuration."""
        if pin.origin == "npm":
            return npm.parse(self._npm(pin.package, _FULL), pin.package)
        client = self._client("pip", config.pip_access)
        body = self._get(client, f"{pin.package}/", pypi.ACCEPT, pin.package)
        return pypi.parse(body, pin.package)

    def versions(self, name: str) -> frozenset[str]:
        """The versions of an npm package, in the registry's short form; none for an unknown."""
        if name not in self._short:
            try:
                document = read_json(self._npm(name, _SHORT), name)
                self._short[name] = frozenset(mapping(document.get("versions")))
            except NotPublished:
                self._short[name] = frozenset()
        return self._short[name]

    def clock(self) -> tuple[datetime, str]:
        """The registries' time; this machine's where they do not tell."""
        here = datetime.now(UTC)
        if not self._dates:
            return here, "this machine's clock; the registries tell no time"
        drift = statistics.median([(theirs - own).total_seconds() for theirs, own in self._dates])
        now = here + timedelta(seconds=drift)
        if abs(drift) < _SKEW.total_seconds():
            return now, "the registries' clock"
        direction = "behind" if drift > 0 else "ahead"
        away = console.seconds(abs(drift))
        return now, f"the registries' clock; this machine's is {away} {direction}"

    def address(self, pin: Pin) -> str:
        return config.npm_access(self._settings.result(), pin.package, root=self.root).url

    def _npm(self, name: str, accept: str) -> bytes:
        scope = name.partition("/")[0] if name.startswith("@") else ""
        settings = self._settings.result()
        client = self._client(
            f"npm {scope}", partial(config.npm_access, settings, name, root=self.root)
        )
        return self._get(client, quote(name, safe="@"), accept, name)

    def close(self) -> None:
        """End what other threads are asking."""
        with self._lock:
            clients = list(self._clients.values())
        for client in clients:
            client.close()

    def _client(self, which: str, access: Any) -> Client:
        with self._lock:
            if which not in self._clients:
                self._clients[which] = Client(access())
            return self._clients[which]

    def _get(self, client: Client, path: str, accept: str, what: str) -> bytes:
        answer = client.get(path, accept=accept, what=what)
        if answer.date:
            self._dates.append((answer.date, datetime.now(UTC)))
        return answer.body


@contextmanager
def _threads(registries: Registries) -> Iterator[ThreadPoolExecutor]:
    """Threads that end at once when this one is interrupted: what they ask is ended for them."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            registries.close()
            process.end_captures()
            raise


def survey(
    pins: Sequence[Pin],
    versions: Mapping[str, str],
    *,
    root: Path,
    wishes: Mapping[str, Wish],
    chosen: frozenset[str],
    write: bool,
    cache: Path,
) -> Survey:
    """Decide for every pin in `chosen`. `versions` are the Dockerfile's; `write` means that locks
    are wanted, too. A pin whose source fails does not stop the others.
    """
    registries = Registries(root)
    asked = [pin for pin in pins if pin.variable in chosen]
    with _threads(registries) as pool:
        pool.submit(registries.load)
        # A Node is chosen with regard to all who run on it.
        needed = pins if NODE in chosen else asked
        waiting = {pin: pool.submit(_attempt, partial(registries.package, pin)) for pin in needed}
        found = {pin: future.result() for pin, future in waiting.items()}
        now, clock = registries.clock()
        judge = _Judge(registries, root, now, write, Verdicts(cache))
        node = versions[NODE]
        users = _users(found, versions)
        outcomes: dict[Pin, Future[Outcome]] = {}
        # Node goes first: what the others need is held against the one they will run on.
        for pin in sorted(asked, key=lambda pin: pin.variable != NODE):
            work = partial(
                judge.decide,
                pin,
                found[pin],
                versions[pin.variable],
                wish=wishes.get(pin.variable, Wish()),
                node=node,
                users=users if pin.variable == NODE else {},
            )
            outcomes[pin] = pool.submit(work)
            if pin.variable == NODE:
                node = outcomes[pin].result().target
        decided = tuple(outcomes[pin].result() for pin in asked)
    return Survey(decided, now, clock)


def _users(found: Mapping[Pin, Package | TaskError], versions: Mapping[str, str]) -> dict[str, str]:
    """What the tools as they are pinned need of Node."""
    users = {}
    for pin, package in found.items():
        version = versions[pin.variable]
        here = None if isinstance(package, TaskError) else package.releases.get(version)
        if here and here.engines:
            users[f"{pin.name} {version}"] = here.engines
    return users


def _attempt(work: Any) -> Package | TaskError:
    try:
        found: Package = work()
    except TaskError as error:
        return error
    return found


@dataclass(frozen=True)
class _Judge:
    registries: Registries
    root: Path
    now: datetime
    write: bool
    verdicts: Verdicts

    def decide(
        self,
        pin: Pin,
        package: Package | TaskError,
        version: str,
        *,
        wish: Wish,
        node: str,
        users: Mapping[str, str],
    ) -> Outcome:
        if isinstance(package, TaskError):
            return Outcome(pin, version, error=str(package))
        try:
            ranking = policy.rank(
                pin, package, version, now=self.now, node=node, wish=wish, users=users
            )
            outcome = Outcome(
                pin, version, held=ranking.held, notices=ranking.notices, package=package
            )
            outcome = self._with_successor(outcome, package)
            return self._first_that_installs(outcome, ranking.candidates, wish)
        except TaskError as error:
            return Outcome(pin, version, error=str(error))

    def _first_that_installs(
        self, outcome: Outcome, candidates: Sequence[Release], wish: Wish
    ) -> Outcome:
        pin = outcome.pin
        held = list(outcome.held)
        for release in candidates[:_MOST_TRIES]:
            try:
                lock = self._lock(pin, release, wish)
            except locks.DoesNotInstall as error:
                held.append(Held(release.text, f"it does not install: {error.what}"))
                continue
            held.sort(key=lambda h: outcome.package.releases[h.version].key
                      if outcome.package else h.version, reverse=True)  # fmt: skip
            why = _why(release, held, wish)
            return replace(outcome, release=release, lock=lock, why=why, held=tuple(held))
        return self._relocked(replace(outcome, held=tuple(held)), wish)

    def _relocked(self, outcome: Outcome, wish: Wish) -> Outcome:
        """A pin that stays, but whose lock file is not there."""
        package, version = outcome.package, outcome.version
        if (self.root / locks.path(outcome.pin, version)).exists() or package is None:
            return outcome
        here = package.releases.get(version)
        if here is None:
            raise Unknown(
                f"{outcome.pin.package} {version} has no lock file and is not in the registry"
            )
        lock = self._lock(outcome.pin, here, replace(wish, now=wish.now or "lock"))
        why = "its lock file is missing"
        return replace(outcome, release=here, lock=lock, why=why, relock=True)

    def _lock(self, pin: Pin, release: Release, wish: Wish) -> str:
        """The lock; "" where it is not wanted and no tree has to be resolved to be sure."""
        if pin.origin == "pypi":
            return locks.requirement(pin, release)
        self._direct(release)
        if not (self.write or release.dependencies):
            return ""
        before = self.now - timedelta(days=pin.policy.cool_down)
        if release.published is None or release.published > before or wish.now:
            before = self.now
        key = (self.registries.address(pin), pin.package, release.text, release.integrity[""],
               f"{before:%Y-%m-%d}")  # fmt: skip
        work = partial(locks.make, pin, release, before=before, root=self.root)
        return self.verdicts.of(" ".join(key), work)

    def _direct(self, release: Release) -> None:
        """What npm would find missing first, found out in a fraction of the time."""
        wanted = release.dependencies | release.platforms  # type: ignore[operator]
        with ThreadPoolExecutor(max_workers=8) as pool:
            there = dict(zip(wanted, pool.map(self.registries.versions, wanted), strict=True))
        for name, spec in wanted.items():
            if not any_fits(there[name], spec):
                raise locks.DoesNotInstall(
                    f"it needs {name}@{spec}, which the registry does not have"
                )

    def _with_successor(self, outcome: Outcome, package: Package) -> Outcome:
        """A package that looks given up: where it went, if something tells."""
        if outcome.pin.origin != "npm" or not policy.silent(package, self.now):
            return outcome
        for name in policy.successors(package)[:3]:
            try:
                found = self.registries.package(replace(outcome.pin, package=name))
            except Unknown:
                continue
            newest = found.releases[found.latest]
            note = (
                f"{package.name} seems to live on as {name} ({newest.text}, "
                f"{newest.published:%Y-%m-%d}): change its row in tasks/bump/pins.py"
            )
            return replace(outcome, notices=(*outcome.notices, note))
        return outcome


def any_fits(versions: frozenset[str], spec: str) -> bool:
    """Whether a version fits; yes where the specifier is none that we read (an address, a tag)."""
    if not re.fullmatch(r"[\s\dvxX*.^~<>=|+\w-]*", spec) or ":" in spec:
        return True
    if not versions:
        return False
    if spec in versions:
        return True
    try:
        return any(semver.satisfies(version, spec) for version in versions)
    except ValueError:
        return True


def _why(release: Release, held: Sequence[Held], wish: Wish) -> str:
    if wish.now:
        return f"asked for at once: {wish.now}"
    if wish.to:
        return "asked for"
    newer = [h for h in held if h.version != release.text]
    return "the newest that may be taken" if newer else "the newest release"


@dataclass
class Verdicts:
    """npm's answers on whole trees, kept for some hours beside the logs."""

    file: Path
    _guard: Lock = field(default_factory=Lock)

    def of(self, key: str, work: Any) -> str:
        name = hashlib.sha256(key.encode()).hexdigest()
        found = self._read().get(name)
        if found and 0 <= time.time() - float(found["at"]) < _FRESH:
            if "why" in found:
                raise locks.DoesNotInstall(str(found["why"]))
            return str(found["lock"])
        try:
            lock = str(work())
        except locks.DoesNotInstall as error:
            self._keep(name, {"why": error.what})
            raise
        self._keep(name, {"lock": lock})
        return lock

    def _read(self) -> dict[str, Any]:
        try:
            return mapping(json.loads(self.file.read_text()))
        except (OSError, ValueError):
            return {}

    def _keep(self, name: str, verdict: dict[str, Any]) -> None:
        with self._guard:
            now = time.time()
            fresh = {k: v for k, v in self._read().items() if now - float(v["at"]) < _FRESH}
            fresh[name] = {"at": now, **verdict}
            files.write(self.file, json.dumps(fresh))
