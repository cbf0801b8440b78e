//! The way into a registry.
//!
//! ```text
//! ask what is there ─ of each image: blobs ─ manifests ─ index, under its tag
//! ```
//!
//! The order is what makes it safe: a manifest is put when all that it names is
//! there, the tag last of all. Each blob is hashed on its way, and the last of its
//! bytes are sent when the digest holds: nothing damaged gets there. What the
//! registry has is not sent, so a push that was cut short goes on where it stopped.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use oci::client::Options;
use oci::digest::Digest;
use oci::registry::{Reference, ReferenceError, Target, Version};
use serde::Serialize;

use super::manifest::KINDS;
use super::read::{Bundle, Described, Pushable};
use super::upload::{Call, Here};
use super::{BundleError, Event, Observer};

/// A registry, and a path below which images go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    host: String,
    prefix: String,
}

impl Destination {
    fn path(&self, place: &str) -> String {
        match self.prefix.as_str() {
            "" => place.to_owned(),
            prefix => format!("{prefix}/{place}"),
        }
    }

    fn reference(&self, place: &str, version: Version) -> Result<Reference, BundleError> {
        let path = self.path(place);
        Reference::new(&self.host, &path, version)
            .map_err(|source| BundleError::Place { place: format!("{}/{path}", self.host), source })
    }
}

/// `HOST[:PORT][/PATH]`, as `--registry` takes it.
impl FromStr for Destination {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let text = text.trim_end_matches('/');
        let (host, prefix) = text.split_once('/').unwrap_or((text, ""));
        let destination = Self { host: host.to_owned(), prefix: prefix.to_owned() };
        Reference::new(host, &destination.path("a"), Version::Tag("a".to_owned()))?;
        Ok(destination)
    }
}

/// What a push is to do.
#[derive(Debug)]
pub struct Push<'a> {
    /// From where.
    pub bundle: &'a Bundle,
    /// Where to.
    pub destination: &'a Destination,
    /// How the registry is spoken to.
    pub options: &'a Options,
    /// Uploads at a time.
    pub parallel: usize,
    /// Only ask what is missing.
    pub is_dry: bool,
}

/// What came of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// Its name in the registry.
    pub name: String,
    /// Of its manifest or index.
    pub digest: Digest,
    /// Whether the registry had another, or none, under that name.
    pub changed: bool,
    /// Files that the registry lacked.
    pub sent: usize,
    /// Their bytes.
    pub sent_bytes: u64,
}

/// What came of all of them.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Those that are there now.
    pub pushed: Vec<Pushed>,
    /// Those that are not, and why.
    pub failed: Vec<(String, BundleError)>,
}

/// An image on its way.
struct Shipment<'a> {
    what: &'a Pushable,
    name: String,
    target: Target,
    /// Where it is tagged, if it also goes by its digest.
    tag: Option<Target>,
    is_there: bool,
    missing: Vec<(Digest, u64)>,
}

impl Push<'_> {
    /// Brings everything to the registry that it lacks. One image that fails does
    /// not keep the others back.
    ///
    /// # Errors
    /// [`BundleError`], where the registry cannot be reached, or asked about any of them:
    /// then nothing was sent.
    pub async fn run(&self, observer: &dyn Observer) -> Result<Outcome, BundleError> {
        let http = oci::client::http_client(self.options)?;
        let mut shipments = Vec::new();
        for what in &self.bundle.pushed {
            shipments.push(self.shipment(what, &http)?);
        }
        let (shipments, failed) = self.asked(shipments, observer).await?;
        let missing = shipments.iter().flat_map(|shipment| &shipment.missing);
        let (files, bytes) =
            (missing.clone().count(), super::total(missing.map(|(_, size)| *size)));
        observer.event(&Event::Planned { files, bytes });
        let mut outcome = Outcome { failed, ..Outcome::default() };
        let here = Here::default();
        for shipment in shipments {
            let sent =
                if self.is_dry { Ok(()) } else { self.ship(&shipment, &here, observer).await };
            match sent {
                Ok(()) => outcome.pushed.push(shipment.pushed()),
                Err(error) => outcome.failed.push((shipment.name, error)),
            }
        }
        Ok(outcome)
    }

    fn shipment<'a>(
        &self,
        what: &'a Pushable,
        http: &reqwest::Client,
    ) -> Result<Shipment<'a>, BundleError> {
        let place = &what.place;
        let target = |version| {
            let reference = self.destination.reference(place.path(), version)?;
            let target = Target::of(http.clone(), &reference, self.options)?;
            Ok::<_, BundleError>(target.accepting(KINDS))
        };
        let tagged = |tag: &str| target(Version::Tag(tag.to_owned()));
        let (target, tag) = match (place.digest(), place.tag()) {
            (Some(digest), tag) => {
                (target(Version::Digest(*digest))?, tag.map(tagged).transpose()?)
            }
            (None, tag) => (tagged(tag.unwrap_or("latest"))?, None),
        };
        let name =
            format!("{}/{}", self.destination.host, self.destination.path(&place.to_string()));
        Ok(Shipment { what, name, target, tag, is_there: false, missing: Vec::new() })
    }

    /// Those that the registry could be asked about, and why not of the others. Where that is
    /// none of them, it is the registry, or the login, that is at fault.
    async fn asked<'a>(
        &self,
        shipments: Vec<Shipment<'a>>,
        observer: &dyn Observer,
    ) -> Result<(Vec<Shipment<'a>>, Vec<(String, BundleError)>), BundleError> {
        observer.event(&Event::Begun("asking the registry what it has"));
        let (mut known, mut failed) = (Vec::new(), Vec::new());
        for mut shipment in shipments {
            match self.ask(&mut shipment, observer).await {
                Ok(()) => known.push(shipment),
                Err(error) if error.is_unreachable() => return Err(error),
                Err(error) => failed.push((shipment.name, error)),
            }
        }
        match failed.is_empty() || !known.is_empty() {
            true => Ok((known, failed)),
            false => Err(failed.swap_remove(0).1),
        }
    }

    /// What of an image the registry lacks. Where it has the image under its name,
    /// it has all of it.
    async fn ask(
        &self,
        shipment: &mut Shipment<'_>,
        observer: &dyn Observer,
    ) -> Result<(), BundleError> {
        let name = shipment.name.clone();
        let call = Call { of: &name, target: &shipment.target, observer };
        let digest = shipment.what.root.digest;
        let named = call.retrying(|| shipment.target.tagged()).await?;
        let tagged = match &shipment.tag {
            Some(tag) => call.retrying(|| tag.tagged()).await?,
            None => named,
        };
        if named == Some(digest) && tagged == Some(digest) {
            shipment.is_there = true;
            return Ok(());
        }
        let blobs = &shipment.what.blobs;
        let (call, target) = (&call, &shipment.target);
        let has = self
            .side_by_side(blobs, |(digest, size)| async move {
                call.retrying(|| target.has_blob(digest, *size)).await
            })
            .await;
        let mut missing = Vec::new();
        for (blob, has) in blobs.iter().zip(has) {
            if !has? {
                missing.push(*blob);
            }
        }
        // The largest first: the last upload to end is a small one.
        missing.sort_by(|(one, a), (other, b)| b.cmp(a).then_with(|| one.cmp(other)));
        shipment.missing = missing;
        Ok(())
    }

    async fn ship(
        &self,
        shipment: &Shipment<'_>,
        here: &Here,
        observer: &dyn Observer,
    ) -> Result<(), BundleError> {
        let Shipment { what, name, target, .. } = shipment;
        if !shipment.is_there {
            let call = Call { of: name, target, observer };
            let sent = self
                .side_by_side(&shipment.missing, |(digest, size)| {
                    call.blob(self.bundle.reader(), here, *digest, *size)
                })
                .await;
            sent.into_iter().collect::<Result<(), _>>()?;
            for child in &what.children {
                let has = call.retrying(|| target.has_manifest(&child.digest)).await?;
                if !has {
                    let (bytes, kind) = (self.text(child)?, &child.media_type);
                    call.retrying(|| target.put_manifest(kind, &bytes)).await?;
                }
            }
            let (bytes, kind) = (self.text(&what.root)?, &what.root.media_type);
            call.retrying(|| target.put_tagged(kind, &bytes)).await?;
            if let Some(tag) = &shipment.tag {
                call.retrying(|| tag.put_tagged(kind, &bytes)).await?;
            }
        }
        here.note(target.reference().name(), what);
        observer.event(&Event::Done(name));
        Ok(())
    }

    fn text(&self, manifest: &Described) -> Result<Vec<u8>, BundleError> {
        let reader = self.bundle.reader();
        let unreadable =
            |source| BundleError::Unreadable { path: reader.path().to_owned(), source };
        reader.manifest(&manifest.digest).map_err(unreadable)
    }

    /// Does `work` on everything, several at a time, in order.
    async fn side_by_side<'b, I, T, F: Future<Output = T>>(
        &self,
        all: &'b [I],
        work: impl Fn(&'b I) -> F,
    ) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(BTreeMap::new());
        let worker = || async {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(one) = all.get(at) else { break };
                let result = work(one).await;
                done.lock().unwrap_or_else(PoisonError::into_inner).insert(at, result);
            }
        };
        let workers = (0..self.parallel.clamp(1, 16).min(all.len())).map(|_| worker());
        futures_util::future::join_all(workers).await;
        done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }
}

impl Shipment<'_> {
    fn pushed(self) -> Pushed {
        Pushed {
            name: self.name,
            digest: self.what.root.digest,
            changed: !self.is_there,
            sent: self.missing.len(),
            sent_bytes: super::total(self.missing.into_iter().map(|(_, size)| size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_registries_with_or_without_a_path() {
        for (text, path) in [
            ("r.example:5000", "a"),
            ("r.example/boot/", "boot/a"),
            ("127.0.0.1:5000/x/y", "x/y/a"),
        ] {
            let destination: Destination = text.parse().expect(text);
            assert_eq!(destination.path("a"), path);
        }
        for text in ["", "https://r.example", "r.example/A", "r.example/../x", "me:pw@r.example"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
