//! `kulan check`, and the reading of the configuration for `kulan run`.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::Failure;
use crate::config::{self, Config, ConfigErrors};

/// Reads a configuration; what is wrong with it is a failure with a line for each fault.
pub(super) fn load(path: &Path) -> Result<Config, Failure> {
    config::load(path).map_err(|errors| Failure::Usage(errors.to_string()))
}

#[derive(Serialize)]
struct Verdict<'a> {
    file: String,
    errors: Vec<Fault<'a>>,
}

#[derive(Serialize)]
struct Fault<'a> {
    file: &'a str,
    line: Option<usize>,
    key: Option<&'a str>,
    value: Option<&'a str>,
    message: &'a str,
}

/// Says whether the configuration at `path` is right.
pub(super) fn check(path: &Path, as_json: bool) -> Result<(), Failure> {
    let result = config::load(path);
    let mut out = io::stdout().lock();
    if as_json {
        let none = ConfigErrors(Vec::new());
        let errors = result
            .as_ref()
            .err()
            .unwrap_or(&none)
            .0
            .iter()
            .map(|error| Fault {
                file: &error.file,
                line: error.line,
                key: error.key.as_deref(),
                value: error.value.as_deref(),
                message: &error.message,
            })
            .collect();
        serde_json::to_writer_pretty(&mut out, &Verdict { file: path.display().to_string(), errors })?;
        writeln!(out)?;
    }
    match result {
        Err(errors) => Err(Failure::Usage(errors.to_string())),
        Ok(_) if as_json => Ok(()),
        Ok(config) => Ok(writeln!(
            out,
            "{} is right: AS {}, peers {}, peer ranges {}, domains {}, networks {}",
            path.display(),
            config.speaker.asn,
            config.peers.len(),
            config.dynamic_peers.len(),
            config.domains.len(),
            config.networks.len(),
        )?),
    }
}
