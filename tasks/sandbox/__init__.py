"""A running sandbox: one small interface (interface.py), one module for each provider of it."""
