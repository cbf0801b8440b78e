//! What a bundle tells the person who opens it.

use super::chart;
use super::list::{FileKind, List};

/// The text of `README.md`.
pub(super) fn text(list: &List) -> String {
    let metadata = crate::chart::metadata();
    let (version, maas) = (&metadata.version, &metadata.app_version);
    let mut text = format!(
        "# MAAS {maas}: bundle of maas-deployer, chart {version}\n\n\
         All that an installation needs where there is no internet. BUNDLE is this file's\n\
         name, REGISTRY the registry of your cluster, such as registry.example:5000/maas.\n\n"
    );
    if let Some(program) = list.files.iter().find(|file| file.name == "maas-deployer") {
        text.push_str(&format!(
            "1. Take the program out; tar is enough:\n\n       \
             tar -xOf BUNDLE blobs/sha256/{digest} > maas-deployer\n       \
             echo '{digest}  maas-deployer' | sha256sum -c && chmod +x maas-deployer\n\n",
            digest = program.digest,
        ));
    }
    text.push_str(
        "2. Load images and chart into the registry. What it has is not sent again, so a\n   \
         run that was cut short goes on:\n\n       \
         ./maas-deployer bundle push BUNDLE REGISTRY\n\n   \
         Logins are those of 'docker login' or 'podman login'; --ca-file and --plain-http\n   \
         say how the registry is reached.\n\n\
         3. Install, with the values that this bundle was made for:\n\n       \
         ./maas-deployer install -n maas --create-namespace --registry REGISTRY -f values.yaml\n\n",
    );
    let mirrors = list.files.iter().filter(|file| file.kind == FileKind::MirrorBundle);
    let mirrors: Vec<_> = mirrors.map(|file| &file.name).collect();
    if !mirrors.is_empty() {
        text.push_str(
            "4. While that waits for boot images, bring them into the mirror beside the region\n   \
             (conf.cache.enabled, conf.cache.upstream empty), from another terminal:\n\n       \
             ./maas-deployer bundle unpack BUNDLE out\n",
        );
        for name in mirrors {
            text.push_str(&format!(
                "       kubectl -n maas exec -i maas-region-0 -c mirror -- maas-mirror import - < out/mirror/{name}\n"
            ));
        }
        text.push('\n');
    }
    text.push_str("## What is in it\n\n");
    for image in &list.images {
        text.push_str(&format!("- {} ({:?})\n", image.name, image.digest));
        if !image.renamed {
            text.push_str(&format!(
                "  It is of an object that the values hold whole, as {}: --registry does not\n  \
                 change that name, so name REGISTRY/{} there.\n",
                image.image, image.name
            ));
        }
    }
    text.push_str(&format!("- chart {} ({:?})\n", chart::file_name(), list.chart.digest));
    for file in &list.files {
        text.push_str(&format!("- {} {} ({:?})\n", file.kind.name(), file.name, file.digest));
    }
    text.push_str(
        "\nThe same, with sizes: `maas-deployer bundle inspect BUNDLE`. It is an OCI archive:\n\
         `skopeo copy oci-archive:BUNDLE:NAME docker://REGISTRY/NAME` copies one image.\n",
    );
    text
}
