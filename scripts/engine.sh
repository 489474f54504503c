#!/usr/bin/env bash
# A Docker Engine for the tests, installed and started where none answers. As root on Debian; safe to run again.
#
#   scripts/engine.sh [start]     silent when an engine answers, whoever started it
#   scripts/engine.sh stop        stops what `start` started, and nothing else
#   scripts/engine.sh restart
#
# DOCKER_SOCKET          its socket (/var/run/docker.sock)
# HARRIER_ENGINE_STATE   process id, log, runtime (/run/harrier-engine)
# HARRIER_ENGINE_ALONE   a folder: an engine with data, networks and sockets apart from the machine's own, for tests that
#                        restart it or fill its disk; needs a DOCKER_SOCKET and HARRIER_ENGINE_STATE of its own
# HARRIER_ENGINE_FLAGS   further options of dockerd, between spaces
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

state=${HARRIER_ENGINE_STATE:-/run/harrier-engine}
socket=${DOCKER_SOCKET:-/var/run/docker.sock}
alone=${HARRIER_ENGINE_ALONE:-}
# One bridge for each folder, and a rule that lets traffic within a network pass the other engine's firewall.
number=$(printf %s "$alone" | cksum | cut -d' ' -f1)
bridge=alone$((number % 100000))
within=(-m physdev --physdev-is-bridged -m comment --comment "$bridge" -j ACCEPT)

answers() { curl -fsS --max-time 5 --unix-socket "$socket" http://engine/_ping >/dev/null 2>&1; }

start() {
  packages curl=curl
  ! answers || return 0
  ! patient "$state/pid" dockerd answers || return 0
  # An engine that answers to root only is not one that has to be started.
  root
  packages dockerd=docker.io ip=iproute2 iptables=iptables
  # On a machine with systemd the package's own unit is the engine.
  if [ -z "$alone" ] && [ -d /run/systemd/system ] && [ "$socket" = /var/run/docker.sock ]; then
    systemctl start docker || fail "systemctl start docker failed; see: journalctl -u docker"
    answers || fail "docker.service runs but does not answer at $socket"
    return
  fi
  mkdir -p "$state"
  local flags=() pidfile=/var/run/docker.pid exec=/var/run/docker runtime
  runtime=$(bounded_runtime "$state")
  [ -z "$runtime" ] || flags+=(--add-runtime "bounded=$runtime" --default-runtime bounded)
  if [ -n "$alone" ]; then
    mkdir -p "$alone"
    pidfile=$state/dockerd.pid exec=$state/exec
    flags+=(--data-root "$alone" --exec-root "$exec" --pidfile "$pidfile")
    # Two engines fight for docker0 and for the firewall: one that is told "none", or given address pools, removes the
    # other's bridge. So this one has a bridge of its own, and its containers see each other and this machine, not the
    # world.
    if ! ip link show "$bridge" >/dev/null 2>&1; then
      local net=$((number % 100))
      while ip -4 route show | grep -q "^10\.$((150 + net))\."; do net=$(((net + 1) % 100)); done
      ip link add "$bridge" type bridge
      ip addr add "10.$((150 + net)).0.1/24" dev "$bridge"
      ip link set "$bridge" up
    fi
    iptables -w 60 -C FORWARD "${within[@]}" 2>/dev/null || iptables -w 60 -I FORWARD "${within[@]}"
    flags+=(--bridge "$bridge" --iptables=false)
  fi
  # After a kill -9 another process may have got the id, or nobody waited for the dead one: dockerd would take either for
  # one that lives.
  running "$pidfile" dockerd >/dev/null || rm -f "$pidfile"
  running "$exec/containerd/containerd.pid" containerd >/dev/null || rm -f "$exec/containerd/containerd.pid"
  # shellcheck disable=SC2206
  flags+=(${HARRIER_ENGINE_FLAGS:-})
  daemon "$state/pid" "$state/log" dockerd --host "unix://$socket" "${flags[@]}"
  ready "$state/pid" dockerd "$state/log" answers
}

stop() {
  end "$state/pid" dockerd
  # It leaves its bridge and its mounts behind.
  if [ -n "$alone" ]; then
    iptables -w 60 -D FORWARD "${within[@]}" 2>/dev/null || true
    ip link delete "$bridge" 2>/dev/null || true
    umount -q "$state/exec/netns/default" 2>/dev/null || true
    umount -q "$alone" 2>/dev/null || true
  fi
}

locked "$state/lock"
case ${1:-start} in
start) start ;;
stop) stop ;;
restart)
  running "$state/pid" dockerd >/dev/null || fail "the engine at $socket was not started by this script"
  stop
  start
  ;;
*) fail "unknown: $1; say start, stop or restart" ;;
esac
