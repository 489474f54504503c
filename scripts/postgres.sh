#!/usr/bin/env bash
# A PostgreSQL for the tests, on loopback, which lets everybody in: Debian's postgresql, as the user postgres. It speaks TLS too, by
# a certificate for the name localhost of an authority of its own, and lets the user harrier_tls in over TLS only. Safe to run
# again, silent when it runs.
#
#   scripts/postgres.sh [start]
#   scripts/postgres.sh stop
#   scripts/postgres.sh env     HARRIER_TEST_POSTGRES, its address, and HARRIER_TEST_POSTGRES_CA, as shell assignments
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

# ask SQL: as the administrator.
ask() { psql -qAt -h 127.0.0.1 -p "$port" -U harrier -d "${2:-postgres}" -v ON_ERROR_STOP=1 -c "$1" 2>&1; }

# TLS, also for a server that was made without; a reload is enough.
tls() {
  [ ! -e "$state/tls/done" ] || return 0
  packages openssl=openssl
  local made=$state/tls
  rm -rf "$made"
  mkdir -p "$made"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=harrier test postgres CA" \
    -keyout "$made/ca.key" -out "$made/ca.pem" 2>"$made/openssl.log" &&
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout "$made/server.key" \
      -out "$made/server.csr" 2>>"$made/openssl.log" &&
    openssl x509 -req -in "$made/server.csr" -CA "$made/ca.pem" -CAkey "$made/ca.key" -CAcreateserial -days 3650 \
      -extfile <(echo "subjectAltName=DNS:localhost") -out "$made/server.pem" 2>>"$made/openssl.log" ||
    fail "openssl could not make certificates; see $made/openssl.log"
  cp "$made/server.pem" "$made/server.key" "$state/data/"
  chmod 600 "$state/data/server.key"
  [ "$(id -u)" != 0 ] || chown postgres:postgres "$state/data/server.pem" "$state/data/server.key"
  chmod 755 "$made"
  chmod 644 "$made/ca.pem"
  sed -i '/harrier_tls/d; 1i hostnossl all harrier_tls 127.0.0.1/32 reject' "$state/data/pg_hba.conf"
  ask "SELECT 1 FROM pg_roles WHERE rolname = 'harrier_tls'" | grep -q 1 || ask "CREATE ROLE harrier_tls SUPERUSER LOGIN"
  ask "ALTER SYSTEM SET ssl_cert_file = 'server.pem'"
  ask "ALTER SYSTEM SET ssl_key_file = 'server.key'"
  ask "ALTER SYSTEM SET ssl = on"
  ask "SELECT pg_reload_conf()" >/dev/null
  local deadline=$((SECONDS + 30))
  until ask "SELECT 1" "dbname=postgres sslmode=require" | grep -q '^1$'; do
    [ $SECONDS -lt $deadline ] || fail "the server does not speak TLS; see $state/log"
    sleep 0.1
  done
  touch "$made/done"
}

start() {
  if ! command -v initdb >/dev/null; then
    packages initdb=postgresql
    for bin in /usr/lib/postgresql/*/bin; do PATH=$PATH:$bin; done
  fi
  if patient "$state/pid" postgres answers; then
    tls
    return
  fi
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
  tls
}

stop() { end "$state/pid" postgres; }

locked "$test_state/postgres-$port.lock"
case ${1:-start} in
start) start ;;
stop) stop ;;
env)
  printf 'HARRIER_TEST_POSTGRES=%q\n' "postgres://harrier@127.0.0.1:$port/postgres"
  printf 'HARRIER_TEST_POSTGRES_CA=%q\n' "$state/tls/ca.pem"
  ;;
wipe)
  stop
  rm -rf "$state"
  ;;
*) fail "unknown: $1; say start, stop, env or wipe" ;;
esac
