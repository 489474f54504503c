#!/usr/bin/env bash
# A PostgreSQL for the tests, on loopback, which lets everybody in: Debian's postgresql, as the user postgres. Safe to run again,
# silent when it runs.
#
#   scripts/postgres.sh [start]
#   scripts/postgres.sh stop
#   scripts/postgres.sh env     HARRIER_TEST_POSTGRES, its address, as a shell assignment
#   scripts/postgres.sh wipe    stop, and forget all databases
#
# HARRIER_POSTGRES_PORT   5466
# HARRIER_TEST_STATE      the databases lie below (/var/lib/harrier-test)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

port=${HARRIER_POSTGRES_PORT:-5466}
state=$test_state/postgres-$port
# Debian keeps the server's programs out of PATH.
for bin in /usr/lib/postgresql/*/bin; do PATH=$PATH:$bin; done

answers() { pg_isready -q -h 127.0.0.1 -p "$port" -U harrier; }

# PostgreSQL refuses to run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
  else
    "$@"
  fi
}

start() {
  if ! command -v initdb >/dev/null; then
    packages initdb=postgresql
    for bin in /usr/lib/postgresql/*/bin; do PATH=$PATH:$bin; done
  fi
  running "$state/pid" postgres >/dev/null && answers && return
  end "$state/pid" postgres
  ! answers || fail "something else answers at 127.0.0.1:$port; set HARRIER_POSTGRES_PORT"
  mkdir -p "$state"
  [ "$(id -u)" != 0 ] || chown postgres:postgres "$state"
  if [ ! -s "$state/data/PG_VERSION" ]; then
    rm -rf "$state/data"
    as_postgres initdb -D "$state/data" -U harrier --auth=trust -E UTF8 --locale=C >"$state/initdb.log" 2>&1 ||
      fail "initdb failed; see $state/initdb.log"
  fi
  # What a crash of the machine would cost is no matter here, and tests make many databases.
  if [ "$(id -u)" = 0 ]; then
    set -- setpriv --reuid=postgres --regid=postgres --init-groups --
  else
    set --
  fi
  daemon "$state/pid" "$state/log" "$@" postgres -D "$state/data" -c listen_addresses=127.0.0.1 -c port="$port" \
    -c unix_socket_directories= -c fsync=off -c max_connections=200
  ready "$state/pid" postgres "$state/log" answers
}

stop() { end "$state/pid" postgres; }

locked "$test_state/postgres-$port.lock"
case ${1:-start} in
start) start ;;
stop) stop ;;
env) printf 'HARRIER_TEST_POSTGRES=%q\n' "postgres://harrier@127.0.0.1:$port/postgres" ;;
wipe)
  stop
  rm -rf "$state"
  ;;
*) fail "unknown: $1; say start, stop, env or wipe" ;;
esac
