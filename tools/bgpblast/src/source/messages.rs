//! A recorded stream of BGP messages (RFC 4271 §4.1), one after another without anything between.

use std::io::Read;
use std::path::Path;

use kulan::wire::frame::{EXTENDED_MESSAGE_LEN_MAX, HEADER_LEN, announced_len};
use kulan::wire::{MessageKind, next_frame};

use super::Routes;
use super::input::{self, Input};
use super::table::{Table, context};

/// The table that the stream leads to, with the UPDATEs as they were recorded.
///
/// # Errors
///
/// When the file cannot be opened, is no such stream, or leaves no route.
pub(super) fn load(file: &Path) -> Result<Routes, String> {
    let name = file.display();
    let mut bytes = Vec::new();
    let cut = Input::open(file)?.read_to_end(&mut bytes).err();
    let mut partial = cut.map(|error| format!("{name}: at byte {}: {}", bytes.len(), input::damage(&error)));
    let context = context(true, false, false);
    let mut table = Table::default();
    let mut recorded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let frame = match next_frame(rest, EXTENDED_MESSAGE_LEN_MAX) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                let there = rest.len();
                let wanted = announced_len(rest).unwrap_or(HEADER_LEN);
                partial.get_or_insert_with(|| {
                    format!("{name}: at byte {at}: the last message has {there} of its {wanted} bytes")
                });
                break;
            }
            Err(_) if at == 0 => return Err(format!("{name} is no stream of BGP messages: {}", found(rest))),
            Err(error) => {
                partial = Some(format!("{name}: at byte {at}: no BGP message: {error}"));
                break;
            }
        };
        if frame.kind == MessageKind::Update && table.apply(frame.body, &context, at as u64) {
            recorded.extend_from_slice(&rest[..frame.len]);
        }
        at += frame.len;
    }
    let routes = Routes { recorded: Some(recorded), partial, ..table.finish() };
    super::usable(file, routes)
}

/// What stands at the start of a file that does not start with a message, and what to do.
fn found(start: &[u8]) -> String {
    if super::mrt::is_mrt(start) {
        return "it starts with an MRT record; use kind = \"mrt\"".to_string();
    }
    if start.iter().take(64).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return "it is text; if that is one prefix a line, use kind = \"prefixes\"".to_string();
    }
    let shown: String = start.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!(
        "it starts with {shown}, and a message with sixteen octets of ff and its length and type (RFC 4271 §4.1)"
    )
}
