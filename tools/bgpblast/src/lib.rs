//! bgpblast: loads any BGP speaker, checks what comes back and draws the result.

pub mod attributes;
pub mod cli;
pub mod compare;
pub mod engine;
pub mod floor;
pub mod machine;
pub mod outcome;
pub mod progress;
pub mod report;
pub mod safety;
pub mod scenario;
pub mod source;
pub mod truth;
