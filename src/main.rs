//! The `kulan` binary: the daemon and its command line in one.

fn main() {}
