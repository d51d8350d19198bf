//! Runs protocols on the tokio runtime.
