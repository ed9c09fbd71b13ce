"""Secrets in what a repository holds: files, index and history."""
