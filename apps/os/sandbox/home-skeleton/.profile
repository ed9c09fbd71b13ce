# Login shells. Run-time secrets and settings come from ~/.iterate/.env, when it is there.
. /usr/local/lib/sandbox/ca.sh
if [ -r "$HOME/.iterate/.env" ]; then
  set -a
  . "$HOME/.iterate/.env"
  set +a
fi
export S6DIR="$HOME/src/github.com/iterate/iterate/apps/os/sandbox/s6-daemons"
export EDITOR="${EDITOR:-nano}"
case ":$PATH:" in
  *":$HOME/.local/bin:"*) ;;
  *) PATH="$HOME/.local/bin:$PATH" ;;
esac
if [ -n "${BASH_VERSION:-}" ] && [ -r "$HOME/.bashrc" ]; then
  . "$HOME/.bashrc"
fi
