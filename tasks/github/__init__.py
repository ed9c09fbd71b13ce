"""GitHub, as workflows need it: a job's own files and log, events, the REST API, workflow rules."""
