//! `maas-deployer bundle`, with Debian's docker-registry and skopeo.

mod archives;
mod hostile;
mod making;
mod pushing;
mod site;
