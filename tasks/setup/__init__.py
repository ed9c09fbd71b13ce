"""The machine this runs on: what is there, and how to get what is not. Standard library only."""
