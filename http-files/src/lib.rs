#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![cfg(unix)]

mod answer;
mod conditional;
mod config;
mod download;
mod encoding;
mod handler;
mod multipart;
mod open;
mod path;
mod range;
mod tag;

pub use crate::answer::Files;
pub use crate::config::Config;
pub use crate::download::Download;
pub use crate::handler::FilesHandler;
