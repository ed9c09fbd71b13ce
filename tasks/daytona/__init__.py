"""Daytona: its API behind one adapter, and snapshots from a ref to a stage's ledger."""
