//! Benchmarks of single stages, on real data.
