"""What the Nox sessions do: `python -m tasks COMMAND`. Sessions, CI and people are its front."""
