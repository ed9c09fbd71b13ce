"""The Docker Engine: where it is, what it can do, and bounded requests to it.

`discovery.require()` is where most callers start. Standard library only: `setup`, `doctor` and
`snapshot_local` run before any package is installed.
"""
