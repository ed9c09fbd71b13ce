import { useEffect, useRef, useState } from "preact/hooks";

import { Mark } from "./parts";

export function SignIn({
  message,
  onToken,
}: {
  message: string | null;
  onToken: (token: string) => Promise<void>;
}) {
  const input = useRef<HTMLInputElement>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    document.title = "Sign in · Sandbox";
    input.current?.focus();
  }, []);

  async function submit(event: Event) {
    event.preventDefault();
    const token = input.current?.value.trim() ?? "";
    if (!token || busy) {
      input.current?.focus();
      return;
    }
    setBusy(true);
    await onToken(token);
    setBusy(false);
    input.current?.select();
  }

  return (
    <main class="centre">
      <form class="card sign-in" onSubmit={submit}>
        <Mark />
        <h1>Sign in to this sandbox</h1>
        <input type="text" name="username" autocomplete="username" value="sandbox" readOnly hidden />
        <label for="token">Access token</label>
        <input
          ref={input}
          id="token"
          type="password"
          autocomplete="current-password"
          spellcheck={false}
          required
          aria-invalid={message !== null}
          aria-describedby={message === null ? "token-help" : "token-error token-help"}
        />
        {message !== null && (
          <p id="token-error" class="form-error" role="alert">
            {message}
          </p>
        )}
        <button type="submit" class="primary" aria-disabled={busy}>
          {busy ? "Signing in…" : "Sign in"}
        </button>
        <p id="token-help" class="quiet">
          It is in the sandbox: <code>cat ~/.iterate/daemon-token</code>
        </p>
      </form>
    </main>
  );
}
