//! Whole sessions against each other; see [`network`].

mod collision;
mod events;
mod lone;
mod network;
mod open;
mod restart;
mod simulation;
