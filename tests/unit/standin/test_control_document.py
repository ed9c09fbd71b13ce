"""docs/stand-in.md describes the control interface as it is."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast, get_args

from daytona_standin.control_api import ControlApi, FaultControlApi
from daytona_standin.faults import FaultKind, InjectedFault
from daytona_standin.inventory import Inventory
from daytona_standin.records import SandboxRecord, SnapshotRecord
from daytona_standin.settings import StandInSettings
from daytona_standin.store import RecordStore

from tasks.base import project

if TYPE_CHECKING:
    from daytona_standin.engine import LocalEngine
    from daytona_standin.front_door import RequestLog
    from daytona_standin.image_builder import ImageBuilder
    from daytona_standin.object_storage import ObjectStorage
    from daytona_standin.push_registry import PushRegistry

TEXT = (project.ROOT / "docs/stand-in.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands below that heading, up to the next one."""
    _, _, rest = TEXT.partition(f"\n{title}\n")
    assert rest, f"there is no section {title}"
    return re.split(r"\n#+ ", rest)[0]


def first_cells(text: str) -> list[str]:
    """What stands in backquotes at the start of each row of a table."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def example(title: str) -> dict[str, Any]:
    match = re.search(r"```json\n(.*?)```", section(title), re.DOTALL)
    assert match, f"the section {title} has no example"
    return dict(json.loads(match[1]))


def test_the_document_lists_every_request() -> None:
    absent = cast("Any", None)
    operations = [
        *ControlApi(absent, absent, absent, absent).operations(),
        *FaultControlApi(absent, absent).operations(),
    ]
    operation_names = {f"{operation.method} /_stand-in{operation.path}" for operation in operations}
    assert set(first_cells(section("## Control"))) == operation_names


def test_the_document_lists_every_kind_of_fault() -> None:
    assert sorted(first_cells(section("### fault"))) == sorted(get_args(FaultKind))


def test_the_document_shows_a_fault_with_its_defaults() -> None:
    fault = example("### fault")
    assert fault == {**InjectedFault(kind="status").to_json(), "on": fault["on"], "id": 7}


def test_the_document_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", section("### settings"), re.MULTILINE)
    defaults = {field.name: json.dumps(field.default) for field in fields(StandInSettings)}
    assert dict(rows) == defaults


def test_the_document_shows_the_state_as_it_is() -> None:
    class Parts:
        """All that the inventory asks, with one of everything."""

        def tag(self, ref: str) -> str:
            return f"daytona-stand-in/{ref}"

        def containers(self) -> dict[str, str]:
            return {"id": "name"}

        def images(self) -> dict[str, list[str]]:
            return {"id": ["daytona-stand-in/ref"]}

        def state(self) -> dict[str, Any]:
            return {"objects": {"k": 1}, "incomplete": {"k": 1}, "received": 2, "puts": 2}

        def tags(self) -> dict[str, list[str]]:
            return {"r": ["t"]}

        def unfinished_uploads(self) -> list[str]:
            return ["r"]

        def matching(self) -> list[str]:
            return ["GET / 200"]

    store, parts = RecordStore(), Parts()
    snapshot = SnapshotRecord(name="n", ref="ref")
    store.add_snapshot(snapshot, limit=1)
    store.add_sandbox(SandboxRecord(name="s", snapshot=snapshot, labels={"k": "v"}))
    state = Inventory(
        store=store,
        engine=cast("LocalEngine", parts),
        builder=cast("ImageBuilder", parts),
        storage=cast("ObjectStorage", parts),
        registry=cast("PushRegistry", parts),
        log=cast("RequestLog", parts),
    ).complete_state()
    assert shape(state) == shape(example("### state"))


def shape(value: Any) -> Any:
    """The names and types in a JSON value; names in capitals, and all keys below, are variable."""
    if isinstance(value, dict):
        if len(value) == 1:
            return {"*": shape(next(iter(value.values())))}
        return {name: shape(content) for name, content in value.items()}
    if isinstance(value, list):
        return [shape(content) for content in value]
    return "text or null" if value is None or isinstance(value, str) else type(value).__name__
