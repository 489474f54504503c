#!/usr/bin/env bash
# A private image registry for the tests: Debian's docker-registry with a password, on loopback. As root on Debian; safe
# to run again, silent when all runs.
#
#   scripts/registry.sh [start]   plain HTTP, at 127.0.0.1:5055
#   scripts/registry.sh tls       the same images over TLS with a CA of its own as well
#   scripts/registry.sh stop      both
#   scripts/registry.sh env       what a test needs, as shell assignments: addresses, user, password, DOCKER_AUTH_CONFIG, CA
#   scripts/registry.sh wipe      stop, and forget images, password and CA
#
# HARRIER_REGISTRY_PORT, HARRIER_REGISTRY_TLS_PORT   5055, 5056
# HARRIER_REGISTRY_TLS_ADDRESS                       the engine's bridge where there is one, else 127.0.0.1: an engine
#                                                    does not check certificates of 127.0.0.0/8
# HARRIER_REGISTRY_PASSWORD                          of the user harrier; made once and kept if not given
# HARRIER_TEST_STATE                                 images and keys lie below (/var/lib/harrier-test)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

port=${HARRIER_REGISTRY_PORT:-5055}
tls_port=${HARRIER_REGISTRY_TLS_PORT:-5056}
user=harrier
state=$test_state/registry-$port
plain=127.0.0.1:$port

tls_address() {
  local bridge
  bridge=$(ip -4 -o addr show docker0 2>/dev/null | awk '{sub("/.*", "", $4); print $4; exit}') || true
  echo "${HARRIER_REGISTRY_TLS_ADDRESS:-${bridge:-127.0.0.1}}:$tls_port"
}

password() {
  if [ -n "${HARRIER_REGISTRY_PASSWORD:-}" ]; then
    printf '%s' "$HARRIER_REGISTRY_PASSWORD" >"$state/password"
  elif [ ! -s "$state/password" ]; then
    head -c 18 /dev/urandom | base64 | tr -d '/+\n' >"$state/password"
  fi
  # Bcrypt makes another hash each time: a registry that runs must not see the file change for nothing.
  htpasswd -iv "$state/htpasswd" "$user" <"$state/password" >/dev/null 2>&1 ||
    htpasswd -iBc "$state/htpasswd" "$user" <"$state/password" >/dev/null 2>&1 ||
    fail "htpasswd could not write $state/htpasswd"
}

# config NAME ADDRESS [TLS]: prints nothing, writes NAME.yml.
config() {
  cat >"$state/$1.yml" <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: false}}
storage:
  filesystem: {rootdirectory: $state/images}
  delete: {enabled: true}
auth:
  htpasswd: {realm: harrier-test, path: $state/htpasswd}
http:
  addr: $2
  secret: $(head -c 18 /dev/urandom | base64)
YAML
  [ -z "${3:-}" ] || echo "  tls: {certificate: $state/server.pem, key: $state/server.key}" >>"$state/$1.yml"
}

# Without a log-in a registry says 401.
answers() { [ "$(curl -s --max-time 5 -o /dev/null -w '%{http_code}' "${@:2}" "$1/v2/")" = 401 ]; }

# serve NAME ADDRESS URL [CURL OPTION…]
serve() {
  local name=$1 address=$2 url=$3
  shift 3
  ! patient "$state/$name.pid" docker-registry answers "$url" "$@" || return 0
  end "$state/$name.pid" docker-registry
  ! answers "$url" "$@" || fail "something else answers at $address; set another port"
  config "$name" "$address" "$@"
  daemon "$state/$name.pid" "$state/$name.log" docker-registry serve "$state/$name.yml"
  ready "$state/$name.pid" docker-registry "$state/$name.log" answers "$url" "$@"
}

prepare() {
  root
  packages docker-registry=docker-registry htpasswd=apache2-utils curl=curl openssl=openssl ip=iproute2
  # Files hold the password.
  umask 077
  mkdir -p "$state/images"
  password
}

# A CA of its own and a certificate for every name a test may use.
certificate() {
  local host=$1
  local names="IP:127.0.0.1,DNS:localhost,IP:$host"
  [ -s "$state/ca.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -subj "/CN=Harrier test CA" -keyout "$state/ca.key" -out "$state/ca.pem" 2>/dev/null
  if [ ! -s "$state/server.pem" ] || [ "$(cat "$state/server.names" 2>/dev/null)" != "$names" ]; then
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=harrier test registry" \
      -keyout "$state/server.key" -out "$state/server.csr" 2>/dev/null
    openssl x509 -req -in "$state/server.csr" -CA "$state/ca.pem" -CAkey "$state/ca.key" -CAcreateserial -days 3650 \
      -extfile <(echo "subjectAltName=$names") -out "$state/server.pem" 2>/dev/null
    echo "$names" >"$state/server.names"
  fi
}

start() {
  prepare
  serve plain "$plain" "http://$plain"
}

tls() {
  prepare
  local address
  address=$(tls_address)
  certificate "${address%:*}"
  serve tls "$address" "https://$address" --cacert "$state/ca.pem"
  # Where the engine looks for the CA of a registry; it reads it at each pull.
  install -D -m 644 "$state/ca.pem" "/etc/docker/certs.d/$address/ca.crt"
  echo "$address" >"$state/trusted"
}

stop() {
  end "$state/plain.pid" docker-registry
  end "$state/tls.pid" docker-registry
  if [ -s "$state/trusted" ]; then
    rm -rf "/etc/docker/certs.d/$(cat "$state/trusted")"
    rm "$state/trusted"
  fi
}

environment() {
  [ -s "$state/password" ] || fail "no registry was started with this state; first: $0 start"
  local secret auth address
  secret=$(cat "$state/password")
  auth=$(printf '%s:%s' "$user" "$secret" | base64 -w0)
  address=$(tls_address)
  printf '%s=%q\n' HARRIER_REGISTRY "$plain" HARRIER_REGISTRY_TLS "$address" HARRIER_REGISTRY_USER "$user" \
    HARRIER_REGISTRY_PASSWORD "$secret" HARRIER_REGISTRY_CA "$state/ca.pem" DOCKER_AUTH_CONFIG \
    "{\"auths\":{\"$plain\":{\"auth\":\"$auth\"},\"$address\":{\"auth\":\"$auth\"}}}"
}

locked "$test_state/registry-$port.lock"
case ${1:-start} in
start) start ;;
tls)
  start
  tls
  ;;
stop) stop ;;
env) environment ;;
wipe)
  stop
  rm -rf "$state"
  ;;
*) fail "unknown: $1; say start, tls, stop, env or wipe" ;;
esac
