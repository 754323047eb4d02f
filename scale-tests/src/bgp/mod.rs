//! A small BGP stack of its own, for load and for judging: it sends prepared bytes as fast as a socket takes
//! them, and decodes every message that comes back into a table.
//!
//! It has nothing in common with kulan's code, and it is no speaker: no decision, no policy, no timers but the
//! keepalives. Tables hold IPv4 unicast, which is what the workloads are made of.
//!
//! - [`message`]: messages, and path attributes in a form in which equal means equal.
//! - [`table`]: what a receiver holds, compared with what it should hold, at every moment.
//! - [`peers`]: many sessions on one thread.

pub mod message;
pub mod peers;
pub mod table;
