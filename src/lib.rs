//! kulan: a BGP speaker for large bare-metal fleets.
//!
//! The rooms, in the order in which data passes through them: [`wire`] reads and writes messages,
//! [`session`] runs the finite state machine, [`policy`] decides what a route may become, [`rib`] holds
//! and chooses, [`export`] tells peers, [`fib`] tells the kernel. [`speaker`] composes them;
//! [`reactor`] is the only room with a clock and system calls. `docs/architecture.md` draws the map.

pub mod cli;
pub mod config;
pub mod control;
pub mod export;
pub mod fib;
pub mod policy;
pub mod reactor;
pub mod rib;
pub mod session;
pub mod speaker;
pub mod types;
pub mod wire;
