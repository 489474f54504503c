# A package from PyPI in a virtual environment of its own. Sourced by python-gitlab.sh, pyjwt.sh and s3.sh, which say the
# package and are called with start, env or wipe.

. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

# The functions below it read its variables.
#
# python_environment PLACE REQUIREMENT VERSION_OF VARIABLE start|env|wipe: REQUIREMENT is what pip is asked for, with ==VERSION;
# VERSION_OF is Python that prints the version of what is there; VARIABLE is what `env` calls the environment's Python.
python_environment() {
  local place=$test_state/$1 requirement=$2 version_of=$3 variable=$4 verb=$5
  local python=$place/bin/python
  locked "$place.lock"
  case $verb in
  start) python_there || python_install ;;
  env) printf '%s=%q\n' "$variable" "$python" ;;
  wipe) rm -rf "$place" ;;
  *) fail "unknown: $verb; say start, env or wipe" ;;
  esac
}

python_there() { [ "$("$python" -c "$version_of" 2>/dev/null)" = "${requirement##*==}" ]; }

python_install() {
  packages python3=python3
  # Debian's own: another Python of the user's may lack what the environment needs.
  /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || packages no-command-of=python3-venv
  rm -rf "$place"
  /usr/bin/python3 -m venv "$place"
  "$python" -m pip install --quiet --retries 10 --disable-pip-version-check "$requirement" ||
    fail "pip could not install $requirement; see its message above"
  python_there || fail "$requirement in $place does not work; remove it with scripts/$(basename "$0") wipe"
}
