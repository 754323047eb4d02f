//! Where the real BGP data lies.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;

/// The directory of the data files: `KULAN_DATA`, or `shared/data` beside the repository.
pub fn directory() -> PathBuf {
    match std::env::var_os("KULAN_DATA") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
    }
}

/// Reads the gzip-compressed data file of that name.
///
/// # Panics
/// Says where it looked, and how to point it elsewhere, when the file is missing or broken.
pub fn read_gzip(name: &str) -> Vec<u8> {
    let path = directory().join(name);
    let file = File::open(&path).unwrap_or_else(|error| {
        panic!(
            "the data file {} cannot be read: {error}; set KULAN_DATA to the directory that holds it",
            path.display()
        )
    });
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(BufReader::new(file))
        .read_to_end(&mut bytes)
        .unwrap_or_else(|error| panic!("{} is not a whole gzip file: {error}", path.display()));
    bytes
}
