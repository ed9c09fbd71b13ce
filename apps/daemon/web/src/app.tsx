import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { ApiError, isSignedIn, signIn, signOut, type Status } from "./api";
import { takeToken } from "./fragment";
import { poll } from "./poll";
import { SignIn } from "./sign-in";
import { StatusPage } from "./status-page";

export interface Outage {
  message: string;
  retryAt: number;
}

type View =
  | { kind: "opening" }
  | { kind: "signed-out"; message: string | null }
  | { kind: "signed-in"; status: Status | null; receivedAt: number; outage: Outage | null };

const LOADING: View = { kind: "signed-in", status: null, receivedAt: 0, outage: null };

export function App({ token }: { token: string | null }) {
  const [view, setView] = useState<View>({ kind: "opening" });
  const retryNow = useRef<() => void>(() => {});

  const enter = useCallback(async (token: string) => {
    try {
      await signIn(token);
      setView(LOADING);
    } catch (error) {
      setView({ kind: "signed-out", message: error instanceof ApiError ? error.message : String(error) });
    }
  }, []);

  const resume = useCallback(async () => {
    // An unreachable daemon does not tell: polling shows the outage, and goes on when the daemon is back.
    const signedIn = await isSignedIn().catch(() => true);
    setView(signedIn ? LOADING : { kind: "signed-out", message: null });
  }, []);

  const leave = useCallback(async () => {
    try {
      await signOut();
      setView({ kind: "signed-out", message: null });
    } catch {
      // Only the daemon can end the session and remove its cookie.
      setView({ kind: "signed-out", message: "The daemon did not answer: this browser is still signed in." });
    }
  }, []);

  useEffect(() => {
    if (token !== null) void enter(token);
    else void resume();
    const onHash = () => {
      const linkedToken = takeToken();
      if (linkedToken !== null) void enter(linkedToken);
    };
    addEventListener("hashchange", onHash);
    return () => removeEventListener("hashchange", onHash);
  }, []);

  useEffect(() => {
    if (view.kind !== "signed-in") return;
    const polling = poll({
      onStatus: (status) => setView({ kind: "signed-in", status, receivedAt: performance.now(), outage: null }),
      onOutage: (message, retryAt) =>
        setView((view) => (view.kind === "signed-in" ? { ...view, outage: { message, retryAt } } : view)),
      onSignedOut: () => setView({ kind: "signed-out", message: null }),
    });
    retryNow.current = polling.pollNow;
    return polling.stop;
  }, [view.kind]);

  switch (view.kind) {
    case "opening":
      return <Notice text={token === null ? "Loading…" : "Signing in…"} />;
    case "signed-out":
      return <SignIn message={view.message} onToken={enter} />;
    case "signed-in":
      if (!view.status && !view.outage) return <Notice text="Loading…" />;
      return (
        <StatusPage
          status={view.status}
          receivedAt={view.receivedAt}
          outage={view.outage}
          onRetry={() => retryNow.current()}
          onSignOut={leave}
        />
      );
  }
}

function Notice({ text }: { text: string }) {
  return (
    <main class="centre">
      <p class="quiet" role="status">
        {text}
      </p>
    </main>
  );
}
