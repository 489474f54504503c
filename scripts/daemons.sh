# How the test hosts' scripts install packages and start, find and stop a daemon. Sourced by engine.sh, registry.sh,
# podman.sh, test-images.sh and dist, which call themselves by $0. Never ends a process but by the id it wrote itself.

# Where Debian keeps daemons, which not every PATH has.
PATH=$PATH:/usr/sbin:/sbin

# Everything of the test hosts that is to be kept: registry, images' trees, Podman's storage.
test_state=${HARRIER_TEST_STATE:-/var/lib/harrier-test}

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# What a mirror's hiccup, or an upgrade that a new machine makes by itself, would end.
apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"; }

# packages COMMAND=PACKAGE…: installs the packages whose command is missing.
packages() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} = 0 ] && return
  [ "$(id -u)" = 0 ] || fail "missing: ${missing[*]}. As root: apt-get install -y ${missing[*]}"
  command -v apt-get >/dev/null || fail "missing: ${missing[*]}, and this is no Debian to install them on"
  echo "$(basename "$0"): installing ${missing[*]}" >&2
  apt_get update -qq || true
  apt_get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install ${missing[*]}; see its message above"
}

root() { [ "$(id -u)" = 0 ] || fail "must run as root"; }

# Two runs at a time wait for each other. locked FILE: until the script ends; daemons do not inherit it.
locked() {
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  flock 9
}

# running PIDFILE NAME: prints the id if that process lives and is still NAME; ids are given out again. One that has
# ended and that nobody waited for does not live.
running() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] || return 1
  awk -v name="${2:0:15}" '/^Name:/ {same = $2 == name} /^State:/ {live = $2 != "Z" && $2 != "X"}
    END {exit !(same && live)}' "/proc/$pid/status" 2>/dev/null && echo "$pid"
}

# daemon PIDFILE LOG COMMAND…: starts it in a session of its own.
daemon() {
  local pidfile=$1 log=$2
  shift 2
  setsid "$@" >"$log" 2>&1 </dev/null 9>&- &
  echo $! >"$pidfile"
}

# ready PIDFILE NAME LOG CHECK…: waits until CHECK succeeds; gives up when the daemon has ended, or after a minute.
ready() {
  local pidfile=$1 name=$2 log=$3 deadline=$((SECONDS + 60))
  shift 3
  until "$@"; do
    # A moment ago it still carried the name of setsid or of this shell: any name will do.
    if ! grep -qs '^State:.[^ZX]' "/proc/$(cat "$pidfile")/status" || [ $SECONDS -ge $deadline ]; then
      echo "$(basename "$0"): $name did not start; the end of $log:" >&2
      tail -n 20 "$log" >&2
      end "$pidfile" "$name"
      exit 1
    fi
    sleep 0.1
  done
}

# patient PIDFILE NAME CHECK…: whether a daemon that lives answers within a minute: a busy machine is no dead one.
patient() {
  local pidfile=$1 name=$2 deadline=$((SECONDS + 60))
  shift 2
  while running "$pidfile" "$name" >/dev/null; do
    "$@" && return
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.2
  done
  return 1
}

# end PIDFILE NAME: TERM, and KILL after 20 s. The file goes too.
end() {
  local pid deadline=$((SECONDS + 20))
  if pid=$(running "$1" "$2"); then
    kill "$pid" 2>/dev/null || true
    while running "$1" "$2" >/dev/null; do
      [ $SECONDS -lt $deadline ] || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.1
    done
  fi
  rm -f "$1"
}

# Makes a runtime for machines whose root lacks a capability and prints its path; prints nothing on others.
bounded_runtime() {
  local full bounding
  full=$(((1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1))
  bounding=$((16#$(awk '/^CapBnd/ {print $2}' /proc/self/status)))
  [ "$bounding" != "$full" ] || return 0
  packages python3=python3
  install -m 755 "$(dirname "${BASH_SOURCE[0]}")/runc-bounded" "$1/runc-bounded"
  echo "$1/runc-bounded"
}
