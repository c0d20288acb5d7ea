# Sourced by the scripts beside it: finds a Python, makes .venv and fills it from the hashed lists.
# Knows nothing of what is started in it.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$ROOT/.venv"
LISTS="run test lint" # each holds the one before

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Prints the first Python that is new enough: $PYTHON, or one found on the PATH.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed and was not found; install it, or name it: PYTHON=/path/to/python $0"
}

# What an environment depends on; another value means a new install.
fingerprint() {
    "$VENV/bin/python" -c 'import sys; print(sys.version)' | cat - "$ROOT/pyproject.toml" "$ROOT/requirements/$1.txt" | cksum
}

# ensure_environment LIST: .venv holds requirements/LIST.txt and the project; installs only if something changed.
ensure_environment() {
    local list="$ROOT/requirements/$1.txt" stamp="$VENV/.installed-$1"
    if [ -x "$VENV/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint "$1")" ]; then
        return
    fi
    local python
    python=$(find_python) || exit 1
    echo "Installing into $VENV ..." >&2
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv "$VENV" ||
            fail "the environment could not be made; on Debian and Ubuntu: apt-get install python3-venv"
    fi
    pip_install --require-hashes --requirement "$list" && pip_install --no-deps --editable "$ROOT" ||
        fail "the installation failed; the lines above say why"
    for list in $LISTS; do
        fingerprint "$list" >"$VENV/.installed-$list"
        [ "$list" = "$1" ] && break
    done
}

pip_install() {
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "$@" >&2
}
