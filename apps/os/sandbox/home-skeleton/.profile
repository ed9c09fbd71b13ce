# Login shells. Run-time secrets and settings come from ~/.iterate/.env, which is data: nothing in it
# is run.
. /usr/local/lib/sandbox/env.sh
export EDITOR="${EDITOR:-nano}"
case ":$PATH:" in
  *":$HOME/.local/bin:"*) ;;
  *) PATH="$HOME/.local/bin:$PATH" ;;
esac
if [ -n "${BASH_VERSION:-}" ] && [ -r "$HOME/.bashrc" ]; then
  . "$HOME/.bashrc"
fi
