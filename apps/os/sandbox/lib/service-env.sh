# shellcheck shell=bash
# Sourced by every service: where things are, run-time settings, secrets.
export SANDBOX_REPO=$HOME/src/github.com/iterate/iterate
# shellcheck source=ca.sh
. /usr/local/lib/sandbox/ca.sh

if [ -r "$HOME/.iterate/.env" ]; then
  set -a
  # shellcheck source=/dev/null
  . "$HOME/.iterate/.env"
  set +a
fi

# secret VARIABLE FILE: from the environment, else from ~/.iterate/FILE, made at the first start.
# Two services may come here at once; `ln` lets one of them win.
secret() {
  local file=$HOME/.iterate/$2 new
  if [ -z "${!1:-}" ]; then
    if [ ! -s "$file" ]; then
      mkdir -p "$HOME/.iterate"
      new=$(umask 077 && mktemp "$file.XXXXXX")
      head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$new"
      ln "$new" "$file" 2>/dev/null || true
      rm -f "$new"
    fi
    printf -v "$1" %s "$(cat "$file")"
  fi
  export "${1?}"
}
secret ITERATE_DAEMON_TOKEN daemon-token
secret OPENCODE_SERVER_PASSWORD opencode-password
