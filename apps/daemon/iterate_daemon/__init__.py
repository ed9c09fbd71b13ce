"""The sandbox's main daemon: health, status and its page."""

__version__ = "0.1.0"
