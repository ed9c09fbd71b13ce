# Login shells. What ~/.iterate/.env sets is in the environment by now (/etc/profile.d/sandbox.sh).
export EDITOR="${EDITOR:-nano}"
case ":$PATH:" in
  *":$HOME/.local/bin:"*) ;;
  *) PATH="$HOME/.local/bin:$PATH" ;;
esac
if [ -n "${BASH_VERSION:-}" ] && [ -r "$HOME/.bashrc" ]; then
  . "$HOME/.bashrc"
fi
