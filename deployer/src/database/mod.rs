//! PostgreSQL: connections, with TLS as libpq means it; names; locks.

mod connect;
mod error;
mod identifier;
mod lock;
mod tls;

pub use connect::{Server, Session};
pub use error::{ConnectProblem, DatabaseError};
pub use identifier::{IdentifierError, literal, quoted};
pub use lock::{Lock, LockHolder};
