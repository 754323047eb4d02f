//! The program: see [`bgpblast::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    bgpblast::cli::main()
}
