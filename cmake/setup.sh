# Shared by ./check and ./demo (bash, sourced): messages, packages, and building a preset with progress.
# Everything here works without a terminal and without standard input.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec 3>&1  # where messages go, also from inside pipes

say() { printf '%s\n' "$*" >&3; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 2
}

os_name() {
  ( . /etc/os-release 2>/dev/null && printf '%s' "${PRETTY_NAME:-}" ) | grep . || uname -s
}

is_debian_12() {
  ( . /etc/os-release 2>/dev/null && [ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ] )
}

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# want_packages NAME...: as need_packages, but goes on without them.
want_packages() {
  (need_packages "$@") || say "note: going on without: $*"
}

# need_packages NAME...: installs those that are missing. Says why when it cannot.
need_packages() {
  local missing=() p log
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    for p in clang++-19 cmake ninja; do
      command -v "$p" >/dev/null || die "no $p. Packages are installed for Debian 12 only, and this is $(os_name):
  install by hand what these Debian packages hold: $*"
    done
    say "note: this is $(os_name), not Debian 12; whether all packages are there is not checked"
    return 0
  fi
  for p in "$@"; do is_installed "$p" || missing+=("$p"); done
  [ ${#missing[@]} -gt 0 ] || return 0

  local become=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "missing packages, and neither root nor sudo to install them. As root: apt-get install ${missing[*]}"
    # sudo asks on the terminal; where there is none it must work without a password.
    if { : >/dev/tty; } 2>/dev/null; then become=(sudo); else become=(sudo -n); fi
  fi
  log=$(mktemp)
  say "installing: ${missing[*]}"
  # The postgresql package would make a cluster and start it; tests start servers of their own. What says so goes again.
  local clusters=/etc/postgresql-common/createcluster.d no_cluster=""
  if [[ " ${missing[*]} " == *" postgresql "* ]]; then
    no_cluster=$clusters/leash.conf
    "${become[@]}" sh -c "mkdir -p $clusters && echo 'create_main_cluster = false' > $no_cluster"
  fi
  local apt=("${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
  local failed=""
  { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } </dev/null >"$log" 2>&1 || failed=yes
  [ -z "$no_cluster" ] || "${become[@]}" rm -f "$no_cluster"
  if [ -n "$failed" ]; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    is_debian_12 || say "note: this is $(os_name); the package names are those of Debian 12"
    die "apt-get failed (above: its last words). Missing: ${missing[*]}"
  fi
  rm -f "$log"
}

# How many compilers at once: one a processor, but not more than memory bears.
jobs_here() {
  local cores memory
  cores=$(nproc 2>/dev/null || echo 2)
  memory=$(awk '/^MemAvailable:/ {n = int($2 / 1500000); print n < 1 ? 1 : n}' /proc/meminfo 2>/dev/null)
  if [ -n "$memory" ] && [ "$memory" -lt "$cores" ]; then echo "$memory"; else echo "$cores"; fi
}

# Reads ninja's output; shows its [n/m] as one moving line on a terminal, else as a line for each tenth.
show_progress() {
  local tty=0
  [ -t 3 ] && tty=1
  awk -v what="$1" -v tty="$tty" '
    match($0, /^\[[0-9]+\/[0-9]+\]/) {
      split(substr($0, 2, RLENGTH - 2), n, "/")
      if (tty) printf "\r\033[K%s: %d of %d", what, n[1], n[2]
      else if (n[2] > 1 && int(n[1] * 10 / n[2]) > shown) { shown = int(n[1] * 10 / n[2]); printf "%s: %d of %d\n", what, n[1], n[2] }
      fflush()
    }
    END { if (tty) printf "\r\033[K" }' >&3
}

# build PRESET [TARGET]: configures and builds; on failure prints what went wrong and returns 1.
build() {
  local preset=$1 log="$top/build/$1.log"
  shift
  mkdir -p "$top/build"
  if ! (cd "$top" && cmake --preset "$preset") </dev/null >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    say "$preset: cannot be configured (all of it: build/$preset.log)"
    return 1
  fi
  grep '^-- Left out: ' "$log" >&3 || true
  if ! (cd "$top" && set -o pipefail && cmake --build --preset "$preset" -j "$(jobs_here)" ${1:+--target "$@"} </dev/null 2>&1 |
    tee -a "$log" | show_progress "building $preset"); then
    grep -A 12 -E 'FAILED:|error:|ninja: error' "$log" | head -n 80 >&2
    say "$preset: does not build (all of it: build/$preset.log)"
    return 1
  fi
}
