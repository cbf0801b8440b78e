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
    for (at, step) in steps(list).iter().enumerate() {
        text.push_str(&format!("{}. {step}\n", at + 1));
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

/// What to do, in this order.
fn steps(list: &List) -> Vec<String> {
    let mut steps = Vec::new();
    let mut program = "maas-deployer";
    if let Some(file) = list.files.iter().find(|file| file.name == program) {
        program = "./maas-deployer";
        steps.push(format!(
            "Take the program out; tar is enough:\n\n       \
             tar -xOf BUNDLE blobs/sha256/{digest} > maas-deployer\n       \
             echo '{digest}  maas-deployer' | sha256sum -c && chmod +x maas-deployer\n",
            digest = file.digest,
        ));
    }
    steps.push(format!(
        "Load images and chart into the registry. What it has is not sent again, so a\n   \
         run that was cut short goes on:\n\n       \
         {program} bundle push BUNDLE REGISTRY\n\n   \
         Logins are those of 'docker login' or 'podman login'; --ca-file and --plain-http\n   \
         say how the registry is reached.\n"
    ));
    steps.push(format!(
        "Install, with the values that this bundle was made for:\n\n       \
         {program} install -n maas --create-namespace --registry REGISTRY -f values.yaml\n"
    ));
    let mirrors = list.files.iter().filter(|file| file.kind == FileKind::MirrorBundle);
    let imports: Vec<String> = mirrors
        .map(|file| {
            let import = "kubectl -n maas exec -i maas-region-0 -c mirror -- maas-mirror import -";
            format!("       {import} < out/mirror/{}\n", file.name)
        })
        .collect();
    if !imports.is_empty() {
        steps.push(format!(
            "While that waits for boot images, bring them into the mirror beside the region\n   \
             (conf.cache.enabled, conf.cache.upstream empty), from another terminal:\n\n       \
             {program} bundle unpack BUNDLE out\n{}\n   \
             With a keyring of your own in the values (conf.cache.keyring), behind 'import':\n   \
             --keyring /etc/maas-deployer/keyring/keyring.gpg\n",
            imports.concat()
        ));
    }
    steps
}
