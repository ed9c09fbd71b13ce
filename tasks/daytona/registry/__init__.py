"""Images into Daytona's registry, over the protocol of OCI's distribution specification.

The engine's own `docker push` under our retry was tried in its place (Docker 26.1.5, November 2026,
the proxy of tests/daytona/test_registry_push.py in front of Debian's registry). It holds F16 and
the slow registry of F18. It fails these tests:

- F13, 503 three times: 31 s instead of at most 17.7, since it waits 5, 10, 15 and 20 s.
- F15, 429 with `Retry-After`: it gives up at the first one, and its error has no such time in it.
- F17, permanent refusals: 400, 404 and 413 are tried five times, 50 s; the error has no status.
- F18, a silent registry: its limits (15 s for the first request) cannot be set.
- Layers that were begun are not taken back, and one that broke is sent again from its beginning.
- tests/unit/daytona/test_proxied_clients.py: the daemon connects, with its own proxy, authorities
  and names. `HTTPS_PROXY` and `SANDBOX_CA_BUNDLE` of the person who publishes do not reach it.
"""
