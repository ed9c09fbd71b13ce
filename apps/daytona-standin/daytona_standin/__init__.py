"""A Daytona of this machine, for tests and for trying things out: `python -m daytona_standin`.

It serves the API that Daytona's SDK speaks, on loopback, and carries it out on the local Docker
Engine. docs/stand-in.md says what it imitates, what it does not, and how it is controlled.
"""
