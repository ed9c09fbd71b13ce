"""The Docker Engine: where it is, and whether it can be used."""
