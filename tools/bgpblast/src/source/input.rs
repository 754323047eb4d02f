//! Opening a file that a person named: what it is packed with is seen from its first bytes, and what it cannot be
//! is said in words.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;

/// How much is unpacked at once.
const BUFFER_LEN: usize = 1 << 18;

/// How much of the start is read ahead, to see what it is.
const HEAD_LEN: u64 = 512;

/// The unpacked bytes of a file.
pub(super) struct Input {
    /// The start of the file.
    head: Vec<u8>,
    /// How much of the head has been taken.
    head_taken: usize,
    /// What ended the reading of the head.
    failed: Option<io::Error>,
    reader: BufReader<Box<dyn Read>>,
    taken: u64,
}

impl Input {
    /// Opens a plain file, gzip (RFC 1952) with any number of members, or bzip2 with any number of streams.
    ///
    /// # Errors
    ///
    /// No such file, no regular file, an empty one, or a packing that we do not undo, with the remedy.
    pub fn open(path: &Path) -> Result<Input, String> {
        let name = path.display();
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{name}: no such file"),
            _ => format!("{name}: {error}"),
        })?;
        if metadata.is_dir() {
            return Err(format!("{name} is a directory: name a file in it"));
        }
        if !metadata.is_file() {
            return Err(format!("{name} is not a regular file: write what it gives into one first"));
        }
        let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        let mut packed = BufReader::with_capacity(BUFFER_LEN, file);
        let start = packed.fill_buf().map_err(|error| format!("{name}: {error}"))?;
        let reader: Box<dyn Read> = match start {
            [] => return Err(format!("{name} is empty")),
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(packed)),
            [b'B', b'Z', b'h', ..] => Box::new(MultiBzDecoder::new(packed)),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                return Err(format!("{name} is packed with xz: unpack it first (xz -dk)"));
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                return Err(format!("{name} is packed with zstd: unpack it first (zstd -dk)"));
            }
            _ => Box::new(packed),
        };
        let mut reader = BufReader::with_capacity(BUFFER_LEN, reader);
        let mut head = Vec::new();
        let failed = reader.by_ref().take(HEAD_LEN).read_to_end(&mut head).err();
        Ok(Input { head, head_taken: 0, failed, reader, taken: 0 })
    }

    /// The first bytes, whether or not they have been taken.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// How many unpacked bytes have been taken.
    pub fn position(&self) -> u64 {
        self.taken
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let count = there.len().min(buf.len());
        buf[..count].copy_from_slice(&there[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.head_taken < self.head.len() {
            return Ok(&self.head[self.head_taken..]);
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.reader.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        self.taken += count as u64;
        if self.head_taken < self.head.len() {
            self.head_taken += count;
        } else {
            self.reader.consume(count);
        }
    }
}

/// What a failed read means for a person.
pub(super) fn damage(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file is cut short".to_string(),
        _ => format!("the rest cannot be read: {error}"),
    }
}
