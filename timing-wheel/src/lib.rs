//! A hierarchical timing wheel that knows no clock, no I/O and no thread.
