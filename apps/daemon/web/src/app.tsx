import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { ApiError, isSignedIn, signIn, signOut, type Status } from "./api";
import { takeToken } from "./fragment";
import { poll } from "./poll";
import { SignIn } from "./sign-in";
import { StatusPage } from "./status-page";

export interface Away {
  message: string;
  retryAt: number;
}

type View =
  | { kind: "opening" }
  | { kind: "signed-out"; message: string | null }
  | { kind: "signed-in"; status: Status | null; at: number; away: Away | null };

const WAITING: View = { kind: "signed-in", status: null, at: 0, away: null };

export function App({ token }: { token: string | null }) {
  const [view, setView] = useState<View>({ kind: "opening" });
  const askNow = useRef<() => void>(() => {});

  const enter = useCallback(async (given: string) => {
    try {
      await signIn(given);
      setView(WAITING);
    } catch (error) {
      setView({ kind: "signed-out", message: error instanceof ApiError ? error.message : String(error) });
    }
  }, []);

  const resume = useCallback(async () => {
    // While the daemon is away nobody knows; polling says so, and goes on when it is back.
    const signedIn = await isSignedIn().catch(() => true);
    setView(signedIn ? WAITING : { kind: "signed-out", message: null });
  }, []);

  const leave = useCallback(async () => {
    try {
      await signOut();
      setView({ kind: "signed-out", message: null });
    } catch {
      // Only the daemon can end the session and take its cookie back.
      setView({ kind: "signed-out", message: "The daemon did not answer: this browser is still signed in." });
    }
  }, []);

  useEffect(() => {
    if (token !== null) void enter(token);
    else void resume();
    const onHash = () => {
      const given = takeToken();
      if (given !== null) void enter(given);
    };
    addEventListener("hashchange", onHash);
    return () => removeEventListener("hashchange", onHash);
  }, []);

  useEffect(() => {
    if (view.kind !== "signed-in") return;
    const polling = poll({
      onStatus: (status) => setView({ kind: "signed-in", status, at: performance.now(), away: null }),
      onAway: (message, retryAt) =>
        setView((old) => (old.kind === "signed-in" ? { ...old, away: { message, retryAt } } : old)),
      onSignedOut: () => setView({ kind: "signed-out", message: null }),
    });
    askNow.current = polling.now;
    return polling.stop;
  }, [view.kind]);

  switch (view.kind) {
    case "opening":
      return <Waiting text={token === null ? "Loading…" : "Signing in…"} />;
    case "signed-out":
      return <SignIn message={view.message} onToken={enter} />;
    case "signed-in":
      if (!view.status && !view.away) return <Waiting text="Loading…" />;
      return (
        <StatusPage
          status={view.status}
          at={view.at}
          away={view.away}
          onRetry={() => askNow.current()}
          onSignOut={leave}
        />
      );
  }
}

function Waiting({ text }: { text: string }) {
  return (
    <main class="centre">
      <p class="quiet" role="status">
        {text}
      </p>
    </main>
  );
}
