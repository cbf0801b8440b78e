//! Releases, architectures, kernels and bootloaders.

use fixtures::{Kernel, Release, Stream, StreamSpec};
use maas_mirror::simplestreams::{Selection, select};

use super::{assert_names, documents, filtered, of, paths, product_names};

const GRUB_AMD64: &str = "grub-efi-signed:uefi:amd64";
const GRUB_ARM64: &str = "grub-efi:uefi:arm64";
const GRUB_PPC: &str = "grub-ieee1275:open-firmware:ppc64el";
const PXELINUX: &str = "pxelinux:pxe:i386";

/// Three releases, two architectures, three kernels, CentOS and bootloaders.
fn stream() -> Stream {
    let releases = [Release::Xenial, Release::Jammy, Release::Noble];
    let kernels = [Kernel::Ga, Kernel::Hwe, Kernel::GaLowlatency];
    let spec = StreamSpec::new().releases(&releases).kernels(&kernels);
    spec.arches(&["amd64", "arm64"]).centos(true).version_count(2).scale(0.0).build()
}

#[test]
fn the_default_is_xenial_for_amd64_with_what_boots_it() {
    assert_names(
        &paths(&stream(), &Selection::default()),
        &[
            "bootloaders/pxe/i386/20210819.0/syslinux.tar.xz",
            "bootloaders/uefi/amd64/20210819.0/grub2-signed.tar.xz",
            "bootloaders/uefi/amd64/20210819.0/shim-signed.tar.xz",
            "xenial/amd64/20210928/ga-16.04/generic/boot-initrd",
            "xenial/amd64/20210928/ga-16.04/generic/boot-kernel",
            "xenial/amd64/20210928/ga-16.04/lowlatency/boot-initrd",
            "xenial/amd64/20210928/ga-16.04/lowlatency/boot-kernel",
            "xenial/amd64/20210928/hwe-16.04/generic/boot-initrd",
            "xenial/amd64/20210928/hwe-16.04/generic/boot-kernel",
            "xenial/amd64/20210928/squashfs",
            "xenial/amd64/20210928/squashfs.manifest",
        ],
    );
}

#[test]
fn arm64_has_its_own_bootloader_alone() {
    let kernels =
        ["16.04:arm64:ga-16.04", "16.04:arm64:ga-16.04-lowlatency", "16.04:arm64:hwe-16.04"];
    let kernels = kernels.map(|name| format!("boot:{name}"));
    let [ga, lowlatency, hwe] = &kernels;
    let found = product_names(&stream(), &of(&["xenial"], &["arm64"], &[]));
    assert_names(&found, &[ga, lowlatency, hwe, GRUB_ARM64]);
}

#[test]
fn several_architectures_are_a_union() {
    let stream = stream();
    let both = paths(&stream, &of(&["xenial"], &["amd64", "arm64"], &[]));
    let amd64 = paths(&stream, &of(&["xenial"], &["amd64"], &[]));
    let arm64 = paths(&stream, &of(&["xenial"], &["arm64"], &[]));
    assert_eq!(both, &amd64 | &arm64);
    assert!(amd64.is_disjoint(&arm64));
}

#[test]
fn a_release_is_known_by_codename_number_and_full_name() {
    let stream = stream();
    let by = |name: &str| paths(&stream, &of(&[name], &["amd64"], &[]));
    assert!(by("xenial").contains("xenial/amd64/20210928/squashfs"));
    assert_eq!(by("16.04"), by("xenial"));
    assert_eq!(by("Xenial Xerus"), by("xenial"));
    let both = paths(&stream, &of(&["16.04", "noble"], &["amd64"], &[]));
    assert_eq!(both, &by("xenial") | &by("noble"));
}

#[test]
fn a_release_is_matched_whole() {
    for name in ["xen", "Xenial", "16", "16.04 ", ""] {
        let found = product_names(&stream(), &of(&[name], &["amd64"], &[]));
        assert_names(&found, &[GRUB_AMD64, PXELINUX]);
    }
}

#[test]
fn kernels_are_chosen_by_name_or_flavour() {
    let stream = stream();
    let with = |kernel: &str| product_names(&stream, &of(&["xenial"], &["amd64"], &[kernel]));
    let (ga, hwe, low) = (
        "boot:16.04:amd64:ga-16.04",
        "boot:16.04:amd64:hwe-16.04",
        "boot:16.04:amd64:ga-16.04-lowlatency",
    );
    assert_names(&with("ga-16.04"), &[ga, GRUB_AMD64, PXELINUX]);
    assert_names(&with("lowlatency"), &[low, GRUB_AMD64, PXELINUX]);
    assert_names(&with("generic"), &[ga, hwe, GRUB_AMD64, PXELINUX]);
}

#[test]
fn bootloaders_can_be_left_out() {
    let without = Selection { bootloaders: false, ..Selection::default() };
    let with = paths(&stream(), &Selection::default());
    let without = paths(&stream(), &without);
    assert!(without.iter().all(|path| path.starts_with("xenial/")));
    assert_eq!(with.len() - without.len(), 3);

    let everything = Selection { bootloaders: false, ..of(&[], &[], &[]) };
    let found = product_names(&stream(), &everything);
    assert!(
        found.iter().all(|name| name.starts_with("boot:") || name.starts_with("7.0:")),
        "{found:?}"
    );
}

/// Some publishers mark no bootloader; the stream's name says what they are.
#[test]
fn bootloaders_without_their_mark_are_known_by_the_streams_name() {
    let mut stream = stream();
    for id in [GRUB_AMD64, GRUB_ARM64, GRUB_PPC, PXELINUX] {
        let id = format!("com.ubuntu.maas.stable:1:{id}");
        stream.product_mut(&id).unwrap().remove("bootloader-type");
    }
    assert_eq!(
        paths(&stream, &Selection::default()),
        paths(&self::stream(), &Selection::default())
    );
}

#[test]
fn any_architecture_means_every_bootloader() {
    let found = product_names(&stream(), &of(&["noble"], &[], &["ga-24.04"]));
    let expected = [
        "boot:24.04:amd64:ga-24.04",
        "boot:24.04:arm64:ga-24.04",
        GRUB_AMD64,
        GRUB_ARM64,
        GRUB_PPC,
        PXELINUX,
    ];
    assert_names(&found, &expected);
}

#[test]
fn centos_is_a_release_like_others() {
    for name in ["centos70", "7.0"] {
        let found = product_names(&stream(), &of(&[name], &["amd64"], &[]));
        assert_names(&found, &["7.0:amd64", GRUB_AMD64, PXELINUX]);
    }
    assert!(!product_names(&stream(), &Selection::default()).contains("7.0:amd64"));
}

#[test]
fn filters_narrow_the_friendly_spellings() {
    let narrowed =
        Selection { filters: filtered(&["ftype!=squashfs"]).filters, ..Selection::default() };
    let mut expected = paths(&stream(), &Selection::default());
    expected.remove("xenial/amd64/20210928/squashfs");
    assert_eq!(paths(&stream(), &narrowed), expected);
}

/// The two runs of the image that this program replaces.
#[test]
fn the_filters_of_the_old_image_select_what_it_held() {
    let images = filtered(&["arch=amd64", "release~xenial"]);
    let found = product_names(&stream(), &images);
    let kernels = ["ga-16.04", "ga-16.04-lowlatency", "hwe-16.04"];
    let kernels = kernels.map(|kernel| format!("boot:16.04:amd64:{kernel}"));
    assert_names(&found, &kernels.each_ref().map(String::as_str));

    let bootloaders = filtered(&["os~(grub*|pxelinux)"]);
    let found = product_names(&stream(), &bootloaders);
    assert_names(&found, &[GRUB_AMD64, GRUB_ARM64, GRUB_PPC, PXELINUX]);
}

#[test]
fn a_shared_path_is_listed_for_each_product_with_one_digest() {
    let selected = select(&documents(&stream()), &Selection::default()).unwrap();
    let squashfs = "xenial/amd64/20210928/squashfs";
    let shared: Vec<_> = selected.iter().filter(|item| item.path.as_str() == squashfs).collect();
    assert_eq!(shared.len(), 3);
    assert!(shared.iter().all(|item| item.sha256 == shared[0].sha256 && item.item == "squashfs"));
    assert_eq!(shared[0].content_id, "com.ubuntu.maas:stable:v3:download");
    assert_eq!(shared[0].version, "20210928");
}

#[test]
fn nothing_selected_is_no_error() {
    let nothing = Selection { bootloaders: false, ..of(&["warty"], &[], &[]) };
    assert!(paths(&stream(), &nothing).is_empty());
}
