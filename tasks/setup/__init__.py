"""The machine this runs on: its state, what is missing, and how to install that.

Only the commands `setup` and `doctor` import this package. Standard library only.
"""
