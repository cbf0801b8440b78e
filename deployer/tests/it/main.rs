//! Tests that run the program `maas-deployer` against a real PostgreSQL, the stand-in MAAS, and
//! stand-ins for what cannot be had here.

mod database;
mod images;
mod kubernetes;
mod life;
mod messages;
mod region;
mod support;
