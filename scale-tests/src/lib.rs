//! What whole-process tests share: namespaces, daemons, a load source and an independent decoder.
