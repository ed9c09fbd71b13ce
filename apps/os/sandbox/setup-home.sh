#!/usr/bin/env bash
# Puts home-skeleton/ into $HOME: when the image is built, and in local mode after each sync.
# A file that the user or an agent changed stays as it is; one that came from an older skeleton
# and was left alone is brought up to date. Running it twice changes nothing.
set -euo pipefail

skeleton=$(cd "$(dirname "${BASH_SOURCE[0]}")/home-skeleton" && pwd)
# What was put there last, file by file: it tells "left alone" from "changed".
installed=$HOME/.local/state/iterate/home-skeleton

cd "$skeleton"
# Links stand for the file they lead to: one set of instructions under each agent's name for it.
find . \( -type f -o -type l \) -print0 | while IFS= read -r -d '' file; do
  if [ -L "$HOME/$file" ]; then
    continue
  fi
  if [ -e "$HOME/$file" ] && ! cmp -s "$HOME/$file" "$installed/$file"; then
    # Also where it equals the new one by chance: from then on it counts as ours.
    cmp -s "$file" "$HOME/$file" || continue
  elif [ ! -e "$HOME/$file" ] && [ -e "$installed/$file" ]; then
    continue # removed on purpose
  fi
  if ! cmp -s "$file" "$HOME/$file"; then
    mkdir -p "$(dirname "$HOME/$file")"
    cp "$file" "$HOME/$file.new"
    mv "$HOME/$file.new" "$HOME/$file"
  fi
  if ! cmp -s "$file" "$installed/$file"; then
    mkdir -p "$(dirname "$installed/$file")"
    cp "$file" "$installed/$file"
  fi
done
