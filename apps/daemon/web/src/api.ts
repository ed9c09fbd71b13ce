/** The daemon's JSON interface, as far as this page uses it. */

export type ServiceState = "ready" | "starting" | "up" | "restarting" | "down" | "failed" | "unknown";
export type ToolState = "match" | "mismatch" | "unpinned" | "missing" | "error" | "checking";

export interface Service {
  name: string;
  state: ServiceState;
  pid: number | null;
  since_seconds: number | null;
  restarts: number | null;
  reason: string | null;
  answers: boolean | null;
  version: string | null;
}

export interface Tool {
  name: string;
  command: string;
  agent: boolean;
  state: ToolState;
  pinned: string | null;
  installed: string | null;
  detail: string | null;
}

export interface Source {
  sha: string | null;
  branch: string | null;
  dirty: boolean | null;
}

export interface Problem {
  step: string;
  message: string;
}

export interface Status {
  ready: boolean;
  mode: string | null;
  source: Source;
  image: Source & { identity: string | null; base_image: string | null; built_at: string | null };
  sandbox: { started_at: string | null };
  daemon: { version: string; pid: number; started_at: string; uptime_seconds: number };
  services: Service[];
  tools: Tool[];
  problems: Problem[];
}

/** `signed-out`: there is no session. `refused`: the daemon refuses. `unreachable`: there is no usable answer. */
export class ApiError extends Error {
  constructor(
    readonly kind: "signed-out" | "refused" | "unreachable",
    message: string,
  ) {
    super(message);
  }
}

const TIMEOUT_MS = 10_000;

async function request(path: string, init: RequestInit = {}, signal?: AbortSignal): Promise<Response> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(path, {
      ...init,
      cache: "no-store",
      credentials: "same-origin",
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch {
    throw new ApiError("unreachable", timeout.aborted ? "The daemon does not answer in time." : "The daemon cannot be reached.");
  }
  if (response.ok) return response;
  if (response.status === 429) {
    const seconds = Number(response.headers.get("Retry-After")) || 60;
    throw new ApiError("refused", `Too many wrong tokens. Try again in ${seconds} s.`);
  }
  if (response.status === 401) throw new ApiError("signed-out", "The token is wrong.");
  throw new ApiError("unreachable", `The daemon answered ${response.status}.`);
}

export async function getStatus(signal: AbortSignal): Promise<Status> {
  const response = await request("/api/status", {}, signal);
  const data = (await response.json().catch(() => null)) as Partial<Status> | null;
  if (!data || !Array.isArray(data.services) || !Array.isArray(data.tools) || !Array.isArray(data.problems)) {
    throw new ApiError("unreachable", "The answer is not a status. Is the page older than the daemon? Reload it.");
  }
  return data as Status;
}

export async function isSignedIn(): Promise<boolean> {
  const response = await request("/api/session");
  const data = (await response.json().catch(() => null)) as { signed_in?: boolean } | null;
  return data?.signed_in === true;
}

export async function signIn(token: string): Promise<void> {
  await request("/api/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  });
}

export async function signOut(): Promise<void> {
  await request("/api/session", { method: "DELETE" });
}
