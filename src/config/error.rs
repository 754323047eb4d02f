//! What is wrong with a configuration, told to a person: the file, the line, the key, the value, the remedy.

use std::error::Error;
use std::fmt;

/// One fault in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file's name as the caller gave it.
    pub file: String,
    /// The line, from 1; nothing when the fault is the file itself or something that is missing in it.
    pub line: Option<usize>,
    /// The table and key, `peer.hold_time_s`; nothing when the text is not TOML.
    pub key: Option<String>,
    /// The value as it stands in the file.
    pub value: Option<String>,
    /// The fault and its remedy.
    pub message: String,
}

impl fmt::Display for ConfigError {
    /// `kulan.toml:12: peer.hold_time_s = 2: a hold time is 0 or at least 3 seconds; write 90`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
        }
        write!(f, ": {}", self.message)
    }
}

impl Error for ConfigError {}

/// Every fault that was found, in the order of the lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    /// One fault a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl Error for ConfigErrors {}
