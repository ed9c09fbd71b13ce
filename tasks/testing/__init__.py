"""What `nox -s tests` runs: its areas, one after the other, and the table of their results."""
