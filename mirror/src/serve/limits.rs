//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The connections there are. An address that has its share is refused at
/// once, so that it does not wait in front of others; when all places are
/// taken, nobody is accepted until one is free, and clients queue in the
/// kernel.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, u32>>>,
    most_by_address: u32,
}

/// A connection's place, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Places {
    pub(super) fn new(most: u32, most_by_address: u32) -> Self {
        // Some descriptors are for blobs, the store and a sync: they must not
        // run out, or nothing new is taken up.
        let spare = descriptors().saturating_sub(descriptors() / 8 + 32).max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(spare);
        let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { free, by_address: Arc::default(), most_by_address }
    }

    /// Waits for a free place.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        // Fails only where the semaphore is closed, which nobody does.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Gives the place to `address`, unless it has its share.
    pub(super) fn give(&self, permit: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        // An IPv4 client of a dual-stack socket is the same client.
        let address = address.to_canonical();
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.most_by_address {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Place { _permit: permit, address, by_address: Arc::clone(&self.by_address) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The descriptors that this process may have.
pub(super) fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Lets this process have as many descriptors as it may: a connection takes
/// one, and the default of many systems is 1,024.
pub(super) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of descriptors could not be raised");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[tokio::test]
    async fn an_address_has_its_share_and_gives_it_back() {
        let places = Places::new(10, 2);
        let mut held = Vec::new();
        for _ in 0..2 {
            let permit = places.free().await.expect("free");
            held.push(places.give(permit, A).expect("within its share"));
        }
        assert!(places.give(places.free().await.expect("free"), A).is_none());
        assert!(places.give(places.free().await.expect("free"), B).is_some());
        held.pop();
        assert!(places.give(places.free().await.expect("free"), A).is_some());
        drop(held);
        assert!(places.by_address.lock().expect("lock").is_empty());
        assert_eq!(places.free.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_mapped_address_is_the_same_client() {
        let places = Places::new(10, 1);
        let _place = places.give(places.free().await.expect("free"), A).expect("first");
        let IpAddr::V4(v4) = A else { unreachable!() };
        let mapped = IpAddr::V6(v4.to_ipv6_mapped());
        assert!(places.give(places.free().await.expect("free"), mapped).is_none());
    }
}
