//! One file a daemon: how a plan is written in its language, and how it is started, asked and told to reload.

pub(super) mod bird;
pub(super) mod exabgp;
pub(super) mod frr;
pub(super) mod gobgp;
pub(super) mod kulan;
pub(super) mod openbgpd;
