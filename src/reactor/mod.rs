//! Under construction: see the module's own essay once it lands.

pub mod netlink;
pub mod sockopt;
