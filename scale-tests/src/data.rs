//! The real BGP data in `scale-tests/data`; its README says what each file is and where it comes from.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Where the files lie in the repository that this was built from.
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");

/// Reads the gzip-compressed data file of that name.
///
/// # Panics
/// Says which file, when it is missing or broken.
pub fn read_gzip(name: &str) -> Vec<u8> {
    let path = Path::new(DIRECTORY).join(name);
    let file = File::open(&path).unwrap_or_else(|error| {
        panic!(
            "{} cannot be read: {error}; it is part of the repository, and this program wants to run where it was built",
            path.display()
        )
    });
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(BufReader::new(file))
        .read_to_end(&mut bytes)
        .unwrap_or_else(|error| panic!("{} is not a whole gzip file: {error}", path.display()));
    bytes
}
