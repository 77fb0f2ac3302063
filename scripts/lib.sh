# Shell code shared by the scripts, which source it in the root of the checkout.
# shellcheck shell=bash

# A failure in "$(...)" ends the script too. Otherwise it would test a failed build.
shopt -s inherit_errexit

# Debian installs mosquitto here, outside the PATH of an ordinary user.
PATH=$PATH:/usr/sbin:/sbin

# Keep bytecode, even where the environment says not to: each worker of pytest and each
# process that a test starts would compile all of the source and the tests again.
unset PYTHONDONTWRITEBYTECODE

# The Python versions on which the suite must pass.
VERSIONS=(3.11 3.12 3.13 3.14)

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# lock FILE: waits until no other process has it; until the shell that called it ends.
lock() {
    exec {locked}>"$1"
    if command -v flock >/dev/null; then
        flock "$locked"
    fi
}

# apt_install PACKAGE...: installs Debian packages without starting a service.
apt_install() (
    command -v apt-get >/dev/null || fail "please install: $*"
    lock .venv-apt.lock
    echo "Installing Debian packages: $*" >&2
    # Debian starts an installed service on its default port, unless this file
    # forbids it.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'as_root rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y "$@" </dev/null >&2; }
    # A new machine has no package lists, an old one has stale ones.
    get install --no-install-recommends "$@" ||
        { get update && get install --no-install-recommends "$@"; }
)

# need_commands COMMAND[:PACKAGE]...: installs missing commands; PACKAGE is needed if the
# Debian package has another name.
need_commands() {
    local missing=() name
    for name in "$@"; do
        command -v "${name%:*}" >/dev/null || missing+=("${name#*:}")
    done
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

# node_packages DIRECTORY: installs the packages of its package-lock.json into its
# node_modules.
node_packages() {
    local holds
    holds="$(node --version) $(sha256sum <"$1/package-lock.json")"
    if [ "$(cat "$1/node_modules/.holds" 2>/dev/null)" != "$holds" ]; then
        command -v npm >/dev/null || apt_install npm
        echo "Installing Node.js packages in $1" >&2
        npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
        echo "$holds" >"$1/node_modules/.holds"
    fi
}

# version_of PYTHON: prints "3.12", or nothing if it doesn't run (such as a pyenv shim
# of a version that isn't selected).
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

# find_python 3.X: prints the path of such an interpreter, or nothing. Of an environment
# that is active it is the one that it was made with: ours are made again.
find_python() {
    local root candidate
    root=${PYENV_ROOT:-$(pyenv root 2>/dev/null || echo ~/.pyenv)}
    for candidate in "$(command -v "python$1" || true)" "$(command -v python3 || true)" \
        "$root"/versions/*/bin/"python$1"; do
        if [ -x "$candidate" ] && [ "$(version_of "$candidate")" = "$1" ]; then
            realpath "$candidate"
            return
        fi
    done
}

# choose_python: prints $PYTHON, or else the oldest supported version that is installed.
choose_python() {
    local version python
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" || fail "PYTHON=$PYTHON is not an interpreter"
        return
    fi
    for version in "${VERSIONS[@]}"; do
        python=$(find_python "$version")
        if [ -n "$python" ]; then
            echo "$python"
            return
        fi
    done
    fail "needs one of Python ${VERSIONS[*]}; name another one with PYTHON="
}

# make_venv DIRECTORY PYTHON REQUIREMENTS: makes a virtual environment with the packages,
# which have to include what a build needs, and, in editable mode (so from its source),
# this checkout. Fast if there is nothing to do.
make_venv() {
    local venv=$1 requirements=$3 holds
    empty_venv "$venv" "$2"
    # The installed metadata has the version, so a new version installs again.
    holds=$(grep -h '^__version__' src/aiomqtt/__init__.py |
        cat - "$requirements" pyproject.toml | sha256sum)
    if [ "$(cat "$venv/.holds" 2>/dev/null)" != "$holds" ]; then
        echo "Installing packages in $venv" >&2
        # Bytecode is made of what is imported, when it is.
        pip_of "$venv" --no-compile -r "$requirements" >&2
        (
            lock .venv-checkout.lock # it writes the metadata beside the source
            AIOMQTT_PURE=1 pip_of "$venv" --no-deps --no-build-isolation -e . >&2
        )
        echo "$holds" >"$venv/.holds"
    fi
}

# make_compiled_venv DIRECTORY PYTHON PURE REQUIREMENTS [fast]: the same, but the package
# is compiled and installed as by a user, and recompiled when a source file changes. With
# "fast" it need not be optimized, which takes most of the time, and uses the packages that
# are there to build. The other packages are those of PURE, which `make_venv` makes.
make_compiled_venv() {
    local venv=$1 requirements=$4 fast=${5:-} holds has copy how=()
    empty_venv "$venv" "$2" --without-pip
    holds=$(find src -name '*.py' -print0 | sort -z |
        xargs -0 cat "$requirements" pyproject.toml setup.py | sha256sum)
    has=$(cat "$venv/.holds" 2>/dev/null || true)
    if [ "$has" != "$holds" ] && [ "$has" != "$holds $fast" ]; then
        share_packages "$venv" "$2" "$3" "$requirements"
        echo "Compiling for $venv" >&2
        # setuptools leaves a build/ directory behind. Bytecode comes and goes.
        copy=$(mktemp -d)
        tar -cf - --exclude=__pycache__ --exclude='*.egg-info' \
            src pyproject.toml setup.py README.md LICENSE | tar -xf - -C "$copy"
        (
            if [ -n "$fast" ]; then
                printf '#!/bin/sh\nexec cc "$@" -O0\n' >"$copy/cc"
                chmod +x "$copy/cc"
                export CC=$copy/cc
                how=(--no-build-isolation)
            fi
            AIOMQTT_REQUIRE_COMPILED=1 \
                pip_of "$venv" --no-deps --force-reinstall "${how[@]}" "$copy" >&2
        )
        rm -rf "$copy"
        echo "$holds${fast:+ $fast}" >"$venv/.holds"
    fi
}

# share_packages DIRECTORY PYTHON PURE REQUIREMENTS: lets it have the packages of PURE, as
# links, so with their bytecode, but not this checkout.
share_packages() (
    venv=$1 python=$2 pure=$3 requirements=$4
    # Whoever waits for this lock may have that of the compiled one; nobody who has it
    # waits for that.
    lock "$pure.lock"
    make_venv "$pure" "$python" "$requirements"
    holds=$(sha256sum <"$requirements")
    if [ "$(cat "$venv/.packages" 2>/dev/null)" != "$holds" ]; then
        packages=lib/python$(version_of "$python")/site-packages
        rm -rf "${venv:?}/$packages" "$venv/.packages" "$venv/.holds"
        mkdir -p "$venv/$packages"
        for package in "$PWD/$pure/$packages"/*; do
            case ${package##*/} in
            aiomqtt-* | __editable__*) ;;
            *) ln -s "$package" "$venv/$packages" ;;
            esac
        done
        for script in "$pure"/bin/*; do
            case ${script##*/} in
            python* | [aA]ctivate* | aiomqtt) continue ;;
            esac
            copied=$venv/bin/${script##*/}
            cp -p "$script" "$copied"
            if [ "$(head -c 2 "$copied")" = '#!' ]; then
                sed -i "s|$PWD/$pure/|$PWD/$venv/|" "$copied"
            fi
        done
        echo "$holds" >"$venv/.packages"
    fi
)

# empty_venv DIRECTORY PYTHON [OPTION...]: makes a virtual environment, and makes it again
# for another checkout or interpreter.
empty_venv() {
    local venv=$1 python=$2 made_for
    shift 2
    made_for="$PWD $(realpath "$python") $("$python" -V)"
    if [ "$(cat "$venv/.made-for" 2>/dev/null)" != "$made_for" ]; then
        echo "Making $venv with $("$python" -V)" >&2
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            apt_install "python$(version_of "$python")-venv"
        rm -rf "$venv"
        "$python" -m venv "$@" "$venv"
        echo "$made_for" >"$venv/.made-for"
    fi
}

pip_of() {
    local venv=$1
    shift
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

# dev_venv PYTHON [BUILD [fast]]: makes the virtual environment for development, pure
# unless BUILD is "compiled", and prints its directory. Scripts that run at once make each
# once.
dev_venv() (
    venv=.venv-$(version_of "$1")
    if [ "${2:-pure}" = compiled ]; then
        pure=$venv
        venv=$venv-compiled
        lock "$venv.lock"
        need_compiler "$1"
        make_compiled_venv "$venv" "$1" "$pure" requirements/dev.txt "${3:-}"
    else
        lock "$venv.lock"
        make_venv "$venv" "$1" requirements/dev.txt
    fi
    echo "$PWD/$venv"
)

# need_compiler PYTHON: installs a C compiler and the headers of that Python if missing.
need_compiler() {
    local header
    command -v cc >/dev/null || apt_install gcc libc6-dev
    header=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
    [ -e "$header" ] || apt_install "python$(version_of "$1")-dev"
}
