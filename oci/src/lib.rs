//! What both programs know of OCI: image layouts, their archives, registries,
//! and the HTTP client that reads from anywhere.
//!
//! Nothing that is read is believed: sizes are limits while reading, names are
//! parsed once, and content is what its digest says.
//!
//! | module | is |
//! |---|---|
//! | [`digest`] | SHA-256, which names content |
//! | [`layout`] | the JSON of an image layout |
//! | [`tar`] | the archive of one, strict where it is read |
//! | [`client`] | HTTP: limits, retries, resumption, redirects, CA |
//! | [`registry`] | registries: what they hold, logins, uploads |
//! | [`reader`] | an image layout that lies there, in an archive or a folder |

pub mod client;
pub mod digest;
pub mod layout;
pub mod reader;
pub mod registry;
pub mod tar;
