# Interactive shells. `docker exec -it … bash` is not a login shell: it gets the same settings here.
case ":$PATH:" in
  *":$HOME/.local/bin:"*) ;;
  *) . "$HOME/.profile" ;;
esac
case $- in
  *i*) ;;
  *) return ;;
esac
HISTCONTROL=ignoreboth
HISTSIZE=10000
shopt -s histappend checkwinsize globstar
PS1='\[\e[32m\]sandbox\[\e[0m\]:\[\e[34m\]\w\[\e[0m\]\$ '
alias ll='ls -lah' gs='git status --short --branch'
