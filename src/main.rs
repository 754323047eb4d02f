//! The `kulan` binary: the daemon and its command line in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    kulan::cli::main(kulan::reactor::run)
}
