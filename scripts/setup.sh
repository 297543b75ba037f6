#!/bin/sh
# Makes the environment that the Makefile's targets run in.
#   setup.sh packages   system headers, .venv, the packages of requirements.lock
#   setup.sh project    this project, editable, with its native code
#   setup.sh browser    Chromium, for the tests that look at a page
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

fail() { # what is wrong, what to do
    echo "error: $1. $2" >&2
    exit 2
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null
}

apt_install() {
    echo "Installing with apt: $*"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -qq &&
        as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The one command that gives a system what FFCV is built from.
command_for_headers() {
    if command -v apt-get >/dev/null; then
        echo "sudo apt-get install $DEBIAN_HEADERS"
    elif command -v dnf >/dev/null; then
        echo "sudo dnf install python3-devel gcc-c++ pkgconf-pkg-config turbojpeg-devel opencv-devel"
    elif command -v pacman >/dev/null; then
        echo "sudo pacman -S --needed base-devel pkgconf libjpeg-turbo opencv"
    elif command -v brew >/dev/null; then
        echo "brew install pkg-config jpeg-turbo opencv"
    else
        echo "your package manager, for pkg-config and the headers of OpenCV 4 and libturbojpeg"
    fi
}
DEBIAN_HEADERS="pkg-config libturbojpeg0-dev libopencv-dev libgl1 libglib2.0-0"

has_headers() {
    command -v pkg-config >/dev/null && pkg-config --exists opencv4 libturbojpeg
}

has_python() { # a module or file that Debian packs apart from Python itself
    "$PYTHON" - <<'PY' >/dev/null 2>&1
import ensurepip, os, sysconfig, venv
assert os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))
PY
}

system_packages() {
    command -v "$PYTHON" >/dev/null || fail "$PYTHON: not found" "Install Python 3.11 or newer, or set PYTHON"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$PYTHON" --version) is too old" "Set PYTHON to a Python 3.11 or newer"
    if ! has_python; then
        version=$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
        may_install && apt_install "$version-venv" "$version-dev" || true
        has_python || fail "$PYTHON has no venv module or no headers" \
            "Run: sudo apt-get install $version-venv $version-dev (or your system's like), then again"
    fi
    if ! has_headers; then
        # shellcheck disable=SC2086 # a list of names
        may_install && apt_install $DEBIAN_HEADERS || true
        has_headers || fail "headers of OpenCV 4 or libturbojpeg not found by pkg-config" \
            "Run: $(command_for_headers), then again"
    fi
    command -v c++ >/dev/null || fail "no C++ compiler" \
        "Install one (Debian: sudo apt-get install g++), then again"
}

packages() {
    system_packages
    [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
}

project() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation --editable .
}

browser() {
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
        command -v google-chrome >/dev/null || {
        may_install && apt_install chromium ||
            echo "No Chromium: the tests that look at a page are skipped."
    }
}

case "${1:-}" in
    packages | project | browser) "$1" ;;
    *) fail "setup.sh ${1:-}: no such step" "Use packages, project or browser" ;;
esac
