//! What receivers hold, what they should hold, and where the two differ.
//!
//! Every prefix of a run has a number ([`Index`]). A receiver's table ([`Held`]) has an attribute set for each number,
//! and is compared with an [`Expected`] as routes come in, so that "this receiver has everything, and everything is
//! right" is one number, and the moment at which it becomes true is known.

mod expected;
mod held;
mod index;

pub use expected::{Alternatives, Expected};
pub use held::{Held, Own};
pub use index::Index;
