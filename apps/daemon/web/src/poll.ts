/** Polls the status: quickly while something changes, ever more slowly while the daemon does not answer. */

import { ApiError, getStatus, type Status } from "./api";

const CALM_MS = 3_000;
const BUSY_MS = 1_000;
const SLOWEST_MS = 15_000;

export interface StatusListener {
  onStatus(status: Status): void;
  /** `retryAt` is the time of the next attempt, as of `performance.now()`. */
  onOutage(message: string, retryAt: number): void;
  onSignedOut(): void;
}

/** Starts polling; returns a function that stops it and one that polls at once. */
export function poll(listener: StatusListener): { stop(): void; pollNow(): void } {
  const aborter = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let isPolling = false;

  function schedule(ms: number): void {
    clearTimeout(timer);
    // A hidden page does not poll; it polls at once when it is shown again.
    if (!aborter.signal.aborted && !document.hidden) timer = setTimeout(request, ms);
  }

  async function request(): Promise<void> {
    if (isPolling || aborter.signal.aborted) return;
    isPolling = true;
    clearTimeout(timer);
    try {
      const status = await getStatus(aborter.signal);
      if (aborter.signal.aborted) return;
      failures = 0;
      listener.onStatus(status);
      schedule(isChanging(status) ? BUSY_MS : CALM_MS);
    } catch (error) {
      if (aborter.signal.aborted) return;
      if (error instanceof ApiError && error.kind === "signed-out") {
        listener.onSignedOut();
        return;
      }
      const wait = Math.min(BUSY_MS * 2 ** failures++, SLOWEST_MS);
      listener.onOutage(error instanceof Error ? error.message : String(error), performance.now() + wait);
      schedule(wait);
    } finally {
      isPolling = false;
    }
  }

  const wake = () => {
    if (!document.hidden) void request();
  };
  document.addEventListener("visibilitychange", wake, { signal: aborter.signal });
  addEventListener("online", wake, { signal: aborter.signal });
  void request();
  return {
    stop: () => {
      aborter.abort();
      clearTimeout(timer);
    },
    pollNow: () => void request(),
  };
}

function isChanging(status: Status): boolean {
  return (
    !status.ready ||
    status.tools.some((tool) => tool.state === "checking") ||
    status.services.some((service) => service.state === "starting" || service.state === "restarting")
  );
}
