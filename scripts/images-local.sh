# Images for tests, out of what this machine has; to be sourced by scripts/images.
# shellcheck shell=bash
#
# Everything that takes long is kept under one folder, by the content it is made
# from: Debian packages (pool-KEY), the base (base-KEY.tar), repositories of the
# stand-in's packages (maas-KEY), and buildah's storage with its layers.

images_cache=${XDG_CACHE_HOME:-$HOME/.cache}/maas-mirror-tests/images
# What the Dockerfiles install from the base's own distribution.
pool_packages=(
    apt bind9-dnsutils bind9-utils busybox ca-certificates dbus gpg libgpgme11 libvirt-clients openssh-client
    postgresql-15 rsyslog sudo systemd systemd-sysv tcpdump
)
# Past this, in MiB, the storage of layers is thrown away and begun anew.
storage_limit=12000

# Runs a command, its output on stderr only when it fails.
quietly() {
    local log=$work/log
    if ! "$@" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        die "failed: $*"
    fi
}

suite() { (. /etc/os-release && printf '%s\n' "$VERSION_CODENAME"); }

key_of() { sha256sum | cut -c 1-16; }

# Writes the list of the packages in a folder, and prints a Release file for it.
index() { # FOLDER SUITE
    (cd "$1" && dpkg-scanpackages --multiversion . 2>/dev/null >Packages)
    printf 'Suite: %s\nCodename: %s\nDate: %s\nSHA256:\n %s %s Packages\n' "$2" "$2" "$(date --utc --rfc-email)" \
        "$(sha256sum <"$1/Packages" | cut -d ' ' -f 1)" "$(stat --format=%s "$1/Packages")"
}

# The packages and all they need, fetched by this machine's own apt settings and
# checked by its keys, as a folder that apt can read. No address of an archive
# gets any further than here.
make_pool() {
    local pool=$1 part=$1.part options
    if [[ -e $pool/Packages ]]; then return; fi
    printf '== fetching packages for the test images\n' >&2
    rm -rf "$part"
    mkdir -p "$part/partial" "$work/apt/lists/partial"
    : >"$work/apt/status"
    options=(
        -o "Dir::State=$work/apt" -o "Dir::State::status=$work/apt/status" -o "Dir::State::lists=$work/apt/lists"
        -o "Dir::Cache::archives=$part" -o Debug::NoLocking=true -o APT::Sandbox::User=root
        -o APT::Install-Recommends=false -o Acquire::Languages=none -o DPkg::Post-Invoke::= -o APT::Update::Post-Invoke::=
    )
    quietly apt-get "${options[@]}" update
    quietly apt-get "${options[@]}" --yes --download-only install '?essential' "${pool_packages[@]}"
    rm -rf "$part/partial" "$part/lock"
    index "$part" "$(suite)" >"$part/Release"
    mv "$part" "$pool"
}

# A minimal system of this machine's own release; its only source of packages is
# the pool, mounted while an image is built.
# shellcheck disable=SC2016 # the hooks' own $1
make_base() {
    local pool=$1 base=$2
    if [[ -e $base ]]; then return; fi
    printf '== making the base of the test images\n' >&2
    quietly mmdebstrap --variant=minbase --include=apt --format=tar --aptopt='APT::Sandbox::User "root"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"' \
        --customize-hook='rm -f "$1/etc/apt/sources.list"' \
        --customize-hook='printf "deb [trusted=yes] file:/archive/pool ./\n" >"$1/etc/apt/sources.list.d/pool.list"' \
        "$(suite)" "$base.part" "deb [trusted=yes] copy:$pool ./"
    mv "$base.part" "$base"
}

# The stand-in's packages of one version in a signed apt repository, whose key
# lives no longer than this takes.
make_repository() { # PROGRAM VERSION REPOSITORY
    local program=$1 version=$2 repository=$3 part=$3.part
    if [[ -e $repository/key.asc ]]; then return; fi
    rm -rf "$part"
    mkdir -p "$work/debs"
    quietly "$program" debs --out "$work/debs" --version "$version"
    quietly "$program" repository --debs "$work/debs" --out "$part" --suite stand-in
    gpg --homedir "$work" --batch --with-colons --show-keys "$part/key.asc" 2>/dev/null |
        awk -F: '/^fpr/ { print $10; exit }' >"$part/fingerprint"
    dpkg-deb --field "$(find "$work/debs" -name 'maas-region-api_*.deb' -print -quit)" Version >"$part/version"
    mv "$part" "$repository"
}

# The program CRATE, built unless the environment says where it is.
program() { # CRATE VARIABLE
    local crate=$1 given=${!2:-}
    if [[ -n $given ]]; then
        printf '%s\n' "$given"
        return
    fi
    quietly cargo build --locked --workspace --bin "$crate"
    printf '%s/debug/%s\n' "$(target_dir)" "$crate"
}

# Puts a program without its debug information into the build's context.
stage_program() { # CRATE VARIABLE LIBRARY…
    local crate=$1 from
    from=$(program "$1" "$2")
    shift 2
    mkdir -p "$context/dist"
    strip --strip-all -o "$context/dist/$crate" "$from"
    images/shared/check-program "$context/dist/$crate" "$@" >&2
}

stage_packages() {
    local stand_in key
    stand_in=$(program stand-in-maas STAND_IN_MAAS_BIN)
    key=$( { cat "$stand_in"; printf '%s' "$version"; declare -f make_repository; } | key_of)
    repository=$images_cache/maas-$key
    make_repository "$stand_in" "$version" "$repository"
    touch "$repository"
    mkdir -p "$context/dist"
    cp "$repository/key.asc" "$context/dist/archive-key.asc"
    package_version=$(<"$repository/version")
}

bud() { buildah "${storage[@]}" "$@"; }

import_base() { # BASE NAME
    local base=$1 name=$2 container
    if bud inspect --type image "$name" >/dev/null 2>&1; then return; fi
    container=$(bud from scratch)
    quietly bud add "$container" "$base" /
    quietly bud config --cmd '["bash"]' "$container"
    quietly bud commit --quiet --rm "$container" "$name"
}

# Arguments that only a build for tests has, one a line.
local_arguments() { # IMAGE
    printf -- '--build-arg=BASE=%s\n' "$base_name"
    case $1 in
        maas-region-controller | maas-rack-controller)
            printf -- '--build-arg=%s\n' "MAAS_ARCHIVE=file:/archive/${repository##*/}" MAAS_SUITE=stand-in \
                MAAS_KEY=dist/archive-key.asc "MAAS_KEY_FINGERPRINT=$(<"$repository/fingerprint")" \
                "MAAS_VERSION=$package_version"
            printf -- '--volume=%s:/archive/%s:ro\n' "$repository" "${repository##*/}"
            ;;
    esac
    printf -- '--volume=%s:/archive/pool:ro\n' "$pool"
}

build_image() { # IMAGE
    local image=$1 name options id archive
    name=localhost/${image%-baked}:$(MAAS_VERSION=${package_version:-} tag "$image")
    archive=$out/${name#localhost/}
    archive=${archive/:/-}.tar
    mapfile -t options < <(BINARY=prebuilt arguments "$image" && local_arguments "$image")
    printf '== building %s\n' "$name" >&2
    quietly bud bud --layers --isolation chroot --format docker --pull-never --timestamp "$(source_date)" \
        "${options[@]}" --file "$context/$(dockerfile "$image")" --iidfile "$work/iid" --tag "$name" "$context"
    id=$(<"$work/iid")
    # Writing hundreds of megabytes again would be most of a warm build.
    if [[ ! -e $archive || $(cat "$archive.id" 2>/dev/null) != "$id" ]]; then
        rm -f "$archive" "$archive.id"
        quietly bud push --quiet "$id" "docker-archive:$archive.part:${name#localhost/}"
        mv "$archive.part" "$archive"
        printf '%s\n' "$id" >"$archive.id"
    fi
    printf '%s %s MiB %s\n' "${name#localhost/}" $(($(stat --format=%s "$archive") / 1048576)) "$archive"
}

stage_context() {
    local image
    context=$work/context
    mkdir -p "$context/fixtures"
    cp --recursive --preserve=mode images "$context/"
    cp --recursive --preserve=mode fixtures/images "$context/fixtures/"
    for image in "$@"; do
        case $image in
            maas-mirror | maas-mirror-baked)
                stage_program maas-mirror MAAS_MIRROR_BIN libgpgme.so.11 libgpg-error.so.0
                if [[ -n ${KEYRING:-} ]]; then
                    (cd "$IMAGES_CALLED_FROM" && cp "$KEYRING" "$context/dist/keyring.gpg")
                    KEYRING=dist/keyring.gpg
                fi
                ;;
            maas-deployer) stage_program maas-deployer MAAS_DEPLOYER_BIN ;;
            maas-region-controller | maas-rack-controller) [[ -n ${repository:-} ]] || stage_packages ;;
        esac
    done
}

# Mounts of the builds end with the mount namespace, however this ends.
in_own_namespace() {
    if [[ -n ${IMAGES_NAMESPACE:-} ]]; then return; fi
    ((EUID == 0)) || die 'building images for tests needs root'
    IMAGES_NAMESPACE=1 exec unshare --mount --propagation private scripts/images "$@"
}

open_cache() {
    mkdir -p "$images_cache"
    exec 9>"$images_cache/.lock"
    flock --wait 3600 9 || die "another build has held $images_cache/.lock for an hour"
    find "$images_cache" -mindepth 1 -maxdepth 1 \( -name 'pool-*' -o -name 'base-*' -o -name 'maas-*' \) -mtime +30 \
        -exec rm -rf {} +
    storage=(--root "$images_cache/storage" --runroot "$work/run" --storage-driver overlay)
    if [[ -d $images_cache/storage ]] && (($(du -sm "$images_cache/storage" | cut -f 1) > storage_limit)); then
        rm -rf "$images_cache/storage"
    fi
}

build_for_tests() {
    local out='' version=3.6.4 images=() image key
    local work context pool base base_name repository package_version storage
    in_own_namespace build "$@"
    while (($#)); do
        case $1 in
            --out) out=$2 && shift 2 ;;
            --version) version=$2 && shift 2 ;;
            -*) die "unknown option: $1" ;;
            *) images+=("$1") && shift ;;
        esac
    done
    [[ -n $out ]] || die 'build needs --out DIR'
    ((${#images[@]})) || images=("${user_images[@]}" postgres)
    out=$(cd "$IMAGES_CALLED_FROM" && mkdir -p "$out" && realpath "$out")
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    open_cache
    key=$( { suite; printf '%s\n' "${pool_packages[@]}"; declare -f index make_pool make_base; } | key_of)
    pool=$images_cache/pool-$key base=$images_cache/base-$key.tar base_name=localhost/maas-test-base:$key
    make_pool "$pool"
    make_base "$pool" "$base"
    touch "$pool" "$base"
    import_base "$base" "$base_name"
    stage_context "${images[@]}"
    for image in "${images[@]}"; do build_image "$image"; done
}
