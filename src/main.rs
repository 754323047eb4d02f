//! The `kulan` binary: the daemon and its command line in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    kulan::cli::main(|_config, _path| Err("the loop has not been built yet".into()))
}
