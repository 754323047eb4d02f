//! Makes the gRPC messages and services from `src/control/proto/`. protox compiles them, so nobody needs
//! a `protoc`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = Path::new("src/control/proto");
    println!("cargo::rerun-if-changed={}", directory.display());
    let descriptors = protox::compile(["gobgp.proto", "kulan.proto"], [directory])?;
    tonic_prost_build::configure()
        // The client side of GoBGP's service is `gobgp` itself.
        .server_mod_attribute(".", "#[allow(missing_docs)]")
        .compile_fds(descriptors)?;
    Ok(())
}
