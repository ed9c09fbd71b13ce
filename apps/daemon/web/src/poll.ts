/** Asks again and again: quickly while things change, ever more slowly while nobody answers. */

import { ApiError, getStatus, type Status } from "./api";

const CALM_MS = 3_000;
const BUSY_MS = 1_000;
const LONGEST_MS = 15_000;

export interface Listener {
  onStatus(status: Status): void;
  /** `retryAt` is when it is tried again, in `performance.now()` time. */
  onAway(message: string, retryAt: number): void;
  onSignedOut(): void;
}

/** Starts polling; returns a function that ends it and one that asks right now. */
export function poll(listener: Listener): { stop(): void; now(): void } {
  const end = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let asking = false;

  function later(ms: number): void {
    clearTimeout(timer);
    // A hidden page asks nothing; it asks at once when it is shown again.
    if (!end.signal.aborted && !document.hidden) timer = setTimeout(ask, ms);
  }

  async function ask(): Promise<void> {
    if (asking || end.signal.aborted) return;
    asking = true;
    clearTimeout(timer);
    try {
      const status = await getStatus(end.signal);
      if (end.signal.aborted) return;
      failures = 0;
      listener.onStatus(status);
      later(isChanging(status) ? BUSY_MS : CALM_MS);
    } catch (error) {
      if (end.signal.aborted) return;
      if (error instanceof ApiError && error.kind === "signed-out") {
        listener.onSignedOut();
        return;
      }
      const wait = Math.min(BUSY_MS * 2 ** failures++, LONGEST_MS);
      listener.onAway(error instanceof Error ? error.message : String(error), performance.now() + wait);
      later(wait);
    } finally {
      asking = false;
    }
  }

  const wake = () => {
    if (!document.hidden) void ask();
  };
  document.addEventListener("visibilitychange", wake, { signal: end.signal });
  addEventListener("online", wake, { signal: end.signal });
  void ask();
  return {
    stop: () => {
      end.abort();
      clearTimeout(timer);
    },
    now: () => void ask(),
  };
}

function isChanging(status: Status): boolean {
  return (
    !status.ready ||
    status.tools.some((tool) => tool.state === "checking") ||
    status.services.some((service) => service.state === "starting" || service.state === "restarting")
  );
}
