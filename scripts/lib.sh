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

# A PostgreSQL newer than Debian's, by the builds of zonky that Maven Central has.
newer_postgres=18.6.0
newer_postgres_sums=(
    linux-amd64=008ee189eaa7ca2b58bd01dd950291e638b998392cf982297acd4779ec898ac1
    linux-arm64v8=5f54e016723afa6213925a8acb939bac52944b1d348f65c7a20f0cd2928c31be
)

fetch_newer_postgres() { # NAME FILE
    curl --silent --show-error --fail --location --retry 5 --max-time 300 --output "$2" \
        "https://repo1.maven.org/maven2/io/zonky/test/postgres/$1/$newer_postgres/$1-$newer_postgres.jar"
}

# Unpacks it into a folder. What was fetched stays in the cache.
unpack_newer_postgres() { # FOLDER
    local machine sum name jar
    case $(uname -m) in
        x86_64) machine=linux-amd64 ;;
        aarch64) machine=linux-arm64v8 ;;
        *) die "no PostgreSQL $newer_postgres is built for a $(uname -m)" ;;
    esac
    sum=$(printf '%s\n' "${newer_postgres_sums[@]}" | sed -n "s/^$machine=//p")
    name=embedded-postgres-binaries-$machine
    jar=${XDG_CACHE_HOME:-$HOME/.cache}/maas-mirror-tests/$name-$newer_postgres.jar
    if ! printf '%s  %s\n' "$sum" "$jar" | sha256sum --check --status 2>/dev/null; then
        mkdir -p "${jar%/*}"
        if ! fetch_newer_postgres "$name" "$jar.$$" ||
            ! printf '%s  %s\n' "$sum" "$jar.$$" | sha256sum --check --quiet; then
            rm -f "$jar.$$"
            die "cannot get PostgreSQL $newer_postgres from Maven Central"
        fi
        mv "$jar.$$" "$jar"
    fi
    /usr/bin/python3 -m zipfile -e "$jar" "$1" && tar --extract --xz --file "$1"/*.txz --directory "$1"
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
