#!/usr/bin/env bash
# same_code.sh TOP: each page that exists in Chinese has the code blocks of the English page, letter by letter, and both link to each
# other; every relative link in those pages leads to a file. --drift: the same of a copy in which one letter of a block was changed.
set -uo pipefail
top=$1
failed=0
complain() { printf '%s\n' "$*"; failed=1; }

blocks() { awk '/^```/ { inside = !inside; print; next } inside' "$1"; }

# pair ENGLISH CHINESE LINK_TO_CHINESE LINK_TO_ENGLISH
pair() {
  [ -s "$1" ] || complain "$1 is missing"
  [ -s "$2" ] || complain "$2 is missing"
  diff <(blocks "$1") <(blocks "$2") || complain "$2: its code differs from that of $1"
  grep -qF "[中文]($3)" "$1" || complain "$1 does not link to $3"
  grep -qF "[English]($4)" "$2" || complain "$2 does not link to $4"
}

links() {
  local page=$1 to
  while read -r to; do
    [ -e "$(dirname "$page")/$to" ] || complain "$page links to $to, which is not there"
  done < <(awk '/^```/ { inside = !inside } !inside' "$page" | sed 's/`[^`]*`//g' | grep -oE '\]\([^)#: ]+' | sed 's/^](//' | sort -u)
}

if [ "${2:-}" = --drift ]; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp -r "$top/README.md" "$top/README.zh-CN.md" "$copy"
  sed -i '0,/co_await/s//co_awiat/' "$copy/README.zh-CN.md"
  pair "$copy/README.md" "$copy/README.zh-CN.md" README.zh-CN.md README.md
  exit "$failed"
fi

pair "$top/README.md" "$top/README.zh-CN.md" README.zh-CN.md README.md
links "$top/README.md"
links "$top/README.zh-CN.md"
for page in "$top"/docs/zh/*.md; do
  name=$(basename "$page")
  pair "$top/docs/$name" "$page" "zh/$name" "../$name"
  links "$top/docs/$name"
  links "$page"
done
[ "$failed" = 1 ] || echo "same code in $(ls "$top"/docs/zh/*.md | wc -l) pages and the README"
exit "$failed"
