#!/usr/bin/env bash
# The images that tests and examples use, made on the spot: nothing is pulled. As root on Debian; safe to run again,
# silent when all is there.
#
#   scripts/test-images.sh [NAME…]   all, or the named of:
#     busybox      harrier-test/busybox      busybox-static and nothing else, 2 MB
#     debian-git   harrier-test/debian-git   Debian with git, git-lfs and certificates
#     node         harrier-test/node         the same with Debian's nodejs and npm
#     dind         harrier-test/dind         the same with docker.io and iptables; its command is Docker-in-Docker
#     registry     harrier-test/registry     Debian's docker-registry on port 5000; only where it is named, for `make demo`
#
# busybox and node are pushed to the private registry as well (registry.sh), and the local engine forgets the name there,
# so that a job has to pull it. The file trees are kept below HARRIER_TEST_STATE (/var/lib/harrier-test), 1.5 GB.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/daemons.sh"

# The engine that engine.sh sees to, whatever else the environment names.
export DOCKER_HOST=unix://${DOCKER_SOCKET:-/var/run/docker.sock}
trees=$test_state/trees
# Part of each image's label: raise it when the recipe below changes.
edition=1

suite() {
  local VERSION_CODENAME=
  . /etc/os-release
  [ "${ID:-}" = debian ] && [ -n "$VERSION_CODENAME" ] || fail "the images are made of the Debian this runs on, and this is ${ID:-unknown}"
  echo "$VERSION_CODENAME"
}

# Where this machine's own packages come from: whatever apt reaches, debootstrap reaches.
mirror() {
  local found
  found=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$1" '$4 == "main" && ($2 == suite || $3 == suite) {print $1; exit}')
  [ -n "$found" ] || fail "apt has no source for $1 main; see /etc/apt/sources.list and /etc/apt/sources.list.d"
  echo "${found#mirror+}"
}

# debootstrap and the apt in a tree reach the mirror as this machine's apt does.
proxy() {
  local PROXY=
  eval "$(apt-config shell PROXY Acquire::http::Proxy)"
  [ -z "$PROXY" ] || [ "$PROXY" = DIRECT ] || export http_proxy=$PROXY
}

# tree NAME COMMAND…: makes $trees/NAME by COMMAND PATH, whole or not at all.
tree() {
  local name=$1 path=$trees/$1-$edition
  shift
  [ ! -d "$path" ] || return 0
  [ "$name" = busybox ] || echo "test-images.sh: making the files of $name, which takes a minute" >&2
  rm -rf "$path.new"
  mkdir -p "$trees"
  "$@" "$path.new" >"$trees/$name.log" 2>&1 || {
    tail -n 20 "$trees/$name.log" >&2
    fail "the files of $name could not be made; the whole log: $trees/$name.log"
  }
  mv "$path.new" "$path"
}

tree_busybox() {
  mkdir -p "$1"/{bin,tmp,root,etc}
  chmod 1777 "$1/tmp"
  install -m 755 /bin/busybox "$1/bin/busybox"
  local applet
  for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
  echo 'root:x:0:' >"$1/etc/group"
}

tree_debian_git() {
  local suite
  suite=$(suite)
  debootstrap --variant=minbase --include=git,git-lfs,ca-certificates "$suite" "$1" "$(mirror "$suite")"
  # Services do not start when a package is installed.
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod 755 "$1/usr/sbin/policy-rc.d"
  {
    printf 'path-exclude=/usr/share/%s/*\n' doc man locale info
    # A tree is made whole or not at all: no package needs to be safe on disk before the next.
    echo force-unsafe-io
  } >"$1/etc/dpkg/dpkg.cfg.d/small"
  small "$1"
}

# tree_with PACKAGES PATH: debian-git and more packages.
tree_with() {
  cp -a "$trees/debian-git-$edition" "$2"
  cp -L /etc/resolv.conf "$2/etc/resolv.conf"
  chroot "$2" apt-get -o Acquire::Retries=3 update -q
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive chroot "$2" apt-get -o Acquire::Retries=3 install -yq --no-install-recommends $1
  small "$2"
}

# As in the public image of that name, REGISTRY_… of the environment goes before the file.
tree_registry() {
  tree_with docker-registry "$1"
  mkdir -p "$1/var/lib/registry"
  printf '%s\n' 'version: 0.1' 'storage: {filesystem: {rootdirectory: /var/lib/registry}}' 'http: {addr: ":5000"}' >"$1/registry.yml"
}

small() {
  rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale,info}/* "$1"/var/log/*.log "$1/var/cache/debconf/"*-old
  : >"$1/etc/resolv.conf"
}

# image NAME CHANGE…: imports the tree of that name, if the engine has no such image of this edition.
image() {
  local name=$1 change changes=() has
  shift
  has=$(docker image inspect --format '{{index .Config.Labels "harrier-test.edition"}}' "harrier-test/$name" 2>/dev/null) || true
  [ "$has" != "$edition" ] || return 0
  for change in "$@" "LABEL harrier-test.edition=$edition"; do
    changes+=(--change "$change")
  done
  tar -C "$trees/$name-$edition" --numeric-owner -c . |
    docker import "${changes[@]}" - "harrier-test/$name" >/dev/null ||
    fail "the engine did not take harrier-test/$name; its message is above"
}

# What Docker-in-Docker runs: TLS exactly when DOCKER_TLS_CERTDIR is set, as in the public image of that name.
dind_entry() {
  cat >"$trees/dind-$edition/usr/local/bin/dind" <<'DIND'
#!/bin/sh
# An engine in a privileged container. Without DOCKER_TLS_CERTDIR plain TCP on 2375; with it TLS on 2376, and the
# client's keys in DOCKER_TLS_CERTDIR/client.
set -eu
[ $# = 0 ] || [ "${1#-}" != "$1" ] || exec "$@"
# A control group with processes in it cannot have children (version 2).
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p /sys/fs/cgroup/init
  xargs -rn1 </sys/fs/cgroup/cgroup.procs >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null || true
  sed 's/ / +/g; s/^/+/' </sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
fi
rm -f /var/run/docker.pid
if [ -z "${DOCKER_TLS_CERTDIR:-}" ]; then
  set -- --host unix:///var/run/docker.sock --host tcp://0.0.0.0:2375 --tls=false "$@"
else
  certs=$DOCKER_TLS_CERTDIR
  if [ ! -s "$certs/client/key.pem" ]; then
    umask 077
    mkdir -p "$certs/ca" "$certs/server" "$certs/client"
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=dind CA' -keyout "$certs/ca/key.pem" -out "$certs/ca/cert.pem"
    for side in server client; do
      openssl req -newkey rsa:2048 -nodes -subj "/CN=dind $side" -keyout "$certs/$side/key.new" -out "/tmp/$side.csr"
      names="subjectAltName=DNS:docker,DNS:localhost,DNS:$(hostname),IP:127.0.0.1${DOCKER_TLS_SAN:+,$DOCKER_TLS_SAN}"
      printf '%s\nextendedKeyUsage=%sAuth\n' "$names" "$side" >/tmp/extension
      openssl x509 -req -in "/tmp/$side.csr" -CA "$certs/ca/cert.pem" -CAkey "$certs/ca/key.pem" -CAcreateserial \
        -days 30 -extfile /tmp/extension -out "$certs/$side/cert.pem"
      cp "$certs/ca/cert.pem" "$certs/$side/ca.pem"
      # Whoever waits for the key finds the rest complete.
      mv "$certs/$side/key.new" "$certs/$side/key.pem"
    done 2>/dev/null
  fi
  set -- --host unix:///var/run/docker.sock --host tcp://0.0.0.0:2376 --tlsverify \
    --tlscacert "$certs/server/ca.pem" --tlscert "$certs/server/cert.pem" --tlskey "$certs/server/key.pem" "$@"
fi
exec dockerd "$@"
DIND
  chmod 755 "$trees/dind-$edition/usr/local/bin/dind"
}

# push NAME: to the private registry; what is there already is not pushed again.
push() {
  local id login pushed
  "$here/registry.sh" start
  eval "$("$here/registry.sh" env)"
  id=$(docker image inspect --format '{{.Id}}' "harrier-test/$1")
  pushed=$test_state/registry-${HARRIER_REGISTRY##*:}/images/$1.pushed
  [ "$(cat "$pushed" 2>/dev/null)" != "$id" ] || return 0
  login=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$login'" EXIT
  printf '%s' "$DOCKER_AUTH_CONFIG" >"$login/config.json"
  docker tag "harrier-test/$1" "$HARRIER_REGISTRY/harrier-test/$1"
  docker --config "$login" push "$HARRIER_REGISTRY/harrier-test/$1" >/dev/null ||
    fail "the push of $1 to $HARRIER_REGISTRY failed; its message is above, the registry's log: $test_state/registry-${HARRIER_REGISTRY##*:}/plain.log"
  docker rmi "$HARRIER_REGISTRY/harrier-test/$1" >/dev/null
  rm -rf "$login"
  echo "$id" >"$pushed"
}

wanted=("$@")
[ $# -gt 0 ] || wanted=(busybox debian-git node dind)
root
locked "$test_state/images.lock"
packages curl=curl
"$here/engine.sh"
packages docker=docker.io
for name in "${wanted[@]}"; do
  case $name in
  busybox)
    [ -x /bin/busybox ] && /bin/busybox --list >/dev/null 2>&1 || packages none=busybox-static
    tree busybox tree_busybox
    image busybox 'CMD ["sh"]' 'ENV PATH=/bin'
    push busybox
    ;;
  debian-git | node | dind | registry)
    packages debootstrap=debootstrap
    proxy
    tree debian-git tree_debian_git
    case $name in
    debian-git) image debian-git 'CMD ["bash"]' ;;
    node)
      tree node tree_with "nodejs npm"
      image node 'CMD ["node"]'
      push node
      ;;
    registry)
      tree registry tree_registry
      image registry 'CMD ["docker-registry", "serve", "/registry.yml"]' 'EXPOSE 5000' 'VOLUME /var/lib/registry'
      ;;
    dind)
      tree dind tree_with "docker.io iptables openssl busybox-static"
      dind_entry
      image dind 'ENTRYPOINT ["/usr/local/bin/dind"]' 'VOLUME /var/lib/docker' 'EXPOSE 2375' 'EXPOSE 2376'
      ;;
    esac
    ;;
  *) fail "unknown image: $name; there are busybox, debian-git, node, dind and registry" ;;
  esac
done
