# Shared by the scripts beside it; to be sourced, not run.
# shellcheck shell=bash

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Runs a command, and says how it ended and how long it took. `set -e` does not
# hold inside of COMMAND: functions return by themselves.
step() { # TITLE COMMAND...
    local title=$1 status=0
    local -i start=SECONDS
    shift
    "$@" || status=$?
    printf '== step: %s, %d s, exit %d\n' "$title" $((SECONDS - start)) "$status"
    return "$status"
}

# The absolute folder that cargo builds into.
target_dir() {
    local dir=${CARGO_TARGET_DIR:-target}
    [[ $dir == /* ]] || dir=$PWD/$dir
    printf '%s\n' "$dir"
}

# The Python environment of the conformance tests: outside the clone, one for
# each content of requirements.txt and Python version.
venv_dir() {
    local key
    key=$( { /usr/bin/python3 --version; cat tests/conformance/requirements.txt; } | sha256sum)
    printf '%s/maas-mirror-tests/venv-%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}" "${key:0:16}"
}

# Makes that environment unless it is there, whole.
make_venv() {
    local dir=$1
    [[ -e $dir/.complete ]] && return
    mkdir -p "${dir%/*}"
    (
        flock 9
        [[ -e $dir/.complete ]] && exit
        rm -rf "$dir" &&
            /usr/bin/python3 -m venv "$dir" &&
            "$dir/bin/python" -m pip install --quiet --disable-pip-version-check \
                --requirement tests/conformance/requirements.txt &&
            touch "$dir/.complete"
    ) 9>"${dir%/*}/.lock"
}

# Where the images for tests are; the next run writes only those that changed.
images_dir() { printf '%s/maas-mirror-tests/images/archives\n' "${XDG_CACHE_HOME:-$HOME/.cache}"; }

# Where tests/cluster/cluster keeps the Helm that it builds, of this version.
helm_version=v3.19.0
helm_dir() { printf '%s/maas-mirror-tests/helm-%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}" "$helm_version"; }

# What tests read to find the programs they run.
export_programs() {
    local target venv
    target=$(target_dir)
    venv=$(venv_dir)
    export MAAS_MIRROR_BIN=$target/debug/maas-mirror
    export FIXTURES_BIN=$target/debug/fixtures
    export STAND_IN_MAAS_BIN=$target/debug/stand-in-maas
    export SSTREAM_BIN=$venv/bin
    export MAAS_DEPLOYER_BIN=$target/debug/maas-deployer
    # One on PATH is any version: it is for machines that have built none.
    if [[ -z ${HELM:-} && -x $(helm_dir)/helm ]]; then HELM=$(helm_dir)/helm && export HELM; fi
}
