#!/usr/bin/env bash
# Podman's API on a socket, for tests that use it in place of a Docker Engine. As root on Debian; safe to run again, silent
# when all is there.
#
#   scripts/podman.sh [start]   the socket is HARRIER_PODMAN_SOCKET (/run/harrier-podman/podman.sock)
#   scripts/podman.sh stop
#   scripts/podman.sh images    start, and copy harrier-test/busybox and harrier-test/debian-git from the Docker Engine
#   scripts/podman.sh wipe      stop, and remove its containers and images
#
# Its images and containers lie below HARRIER_TEST_STATE (/var/lib/harrier-test), its settings beside its socket: this
# machine's own Podman is left alone.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/daemons.sh"

socket=${HARRIER_PODMAN_SOCKET:-/run/harrier-podman/podman.sock}
run=$(dirname "$socket")
storage=$test_state/podman
export CONTAINERS_CONF=$run/containers.conf

answers() { curl -fsS --max-time 5 --unix-socket "$socket" http://podman/_ping >/dev/null 2>&1; }

podman_here() { podman --root "$storage" --runroot "$run/storage" --tmpdir "$run/tmp" "$@"; }

# smaller WANTED LIMIT: where root may not raise a limit, a container's must not be above the host's.
smaller() {
  if [ "$2" = unlimited ] || [ "$1" -le "$2" ]; then echo "$1"; else echo "$2"; fi
}

settings() {
  local runtime
  runtime=$(bounded_runtime "$run")
  {
    echo '[engine]'
    # No systemd is asked for anything.
    echo 'cgroup_manager = "cgroupfs"'
    echo 'events_logger = "file"'
    # Static: it runs in any image.
    echo 'init_path = "/usr/bin/tini-static"'
    [ -z "$runtime" ] || printf 'runtime = "bounded"\n[engine.runtimes]\nbounded = ["%s"]\n' "$runtime"
    if [ -n "$runtime" ]; then
      local files processes
      files=$(smaller 20000 "$(ulimit -Hn)")
      processes=$(smaller 1000 "$(ulimit -Hu)")
      echo '[containers]'
      echo "default_ulimits = [\"nofile=$files:$files\", \"nproc=$processes:$processes\"]"
    fi
    echo '[network]'
    echo "network_config_dir = \"$storage/networks\""
  } >"$CONTAINERS_CONF"
}

start() {
  root
  packages podman=podman curl=curl runc=runc tini-static=tini \
    /usr/lib/podman/netavark=netavark /usr/lib/podman/aardvark-dns=aardvark-dns
  ! answers || return 0
  mkdir -p "$run/tmp" "$storage"
  settings
  rm -f "$socket"
  daemon "$run/pid" "$run/log" podman --root "$storage" --runroot "$run/storage" --tmpdir "$run/tmp" \
    system service --time=0 "unix://$socket"
  ready "$run/pid" podman "$run/log" answers
}

stop() {
  end "$run/pid" podman
  rm -f "$socket"
}

images() {
  local name id engine=unix://${DOCKER_SOCKET:-/var/run/docker.sock}
  start
  "$here/test-images.sh" busybox debian-git
  for name in busybox debian-git; do
    id=$(docker --host "$engine" image inspect --format '{{.Id}}' "harrier-test/$name")
    podman_here image exists "${id#sha256:}" 2>/dev/null ||
      docker --host "$engine" save "harrier-test/$name" | podman_here load -q >/dev/null ||
      fail "podman could not load harrier-test/$name"
  done
}

locked "$run/lock"
case ${1:-start} in
start) start ;;
stop) stop ;;
images) images ;;
wipe)
  if [ -f "$CONTAINERS_CONF" ] && command -v podman >/dev/null; then
    podman_here rm --all --force --volumes --time 2 >/dev/null
  fi
  stop
  umount -q "$storage/overlay" || true
  rm -rf "$storage" "$run/storage" "$run/tmp" "$CONTAINERS_CONF"
  ;;
*) fail "unknown: $1; say start, stop, images or wipe" ;;
esac
