//! Where load may go: this machine itself, namespaces of its own making, and what a person allows by name.

use std::net::{IpAddr, TcpListener};

use ipnet::IpNet;

/// Whether load may be put on this address.
///
/// # Errors
/// When it may not, with the option that allows it.
pub fn may_load(target: IpAddr, allowed: &[IpNet]) -> Result<(), String> {
    // What can be listened on is this machine's own: what is sent there never leaves it.
    let own = target.is_loopback() || TcpListener::bind((target, 0)).is_ok();
    if own || allowed.iter().any(|network| network.contains(&target)) {
        return Ok(());
    }
    Err(format!(
        "{target} is not an address of this machine. bgpblast opens thousands of sessions and sends as fast as it can: if \
         that speaker and everything on the way to it are yours to load, say so with --allow-target {target}/{}",
        if target.is_ipv4() { 32 } else { 128 }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_what_is_named_may_be_loaded() {
        let may = |target: &str, allowed: &[&str]| {
            let allowed: Vec<IpNet> = allowed.iter().map(|net| net.parse().unwrap()).collect();
            may_load(target.parse().unwrap(), &allowed)
        };
        assert!(may("127.0.0.1", &[]).is_ok() && may("127.9.9.9", &[]).is_ok());
        assert!(may("203.0.113.1", &["203.0.113.0/25"]).is_ok());
        let refused = may("203.0.113.129", &["203.0.113.0/25"]).unwrap_err();
        assert!(refused.contains("--allow-target 203.0.113.129/32"), "{refused}");
    }
}
