/**
 * The token of `/#token=…`, which signs in with one click. Browsers do not send the fragment to the server; it is
 * removed from the address bar and the history before anything else happens.
 */
export function takeToken(): string | null {
  const match = /^#token=(.+)$/.exec(location.hash);
  if (!match?.[1]) return null;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return match[1];
  }
}
