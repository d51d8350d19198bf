//! The contract between network protocols and the drivers that feed them.
