#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod answer;
mod app;
mod call;
#[cfg(feature = "cookies")]
mod cookies;
mod handler;
#[cfg(feature = "json")]
mod json;
mod pairs;
mod problem;
mod reply;

pub use crate::answer::{Answer, IntoAnswer, later};
pub use crate::app::{App, AppBuilder, RouteError};
pub use crate::call::Call;
pub use crate::handler::AppHandler;
#[cfg(feature = "json")]
pub use crate::json::Json;
pub use crate::pairs::Pairs;
pub use crate::problem::Problem;
pub use crate::reply::{IntoReply, Reply};
#[cfg(feature = "cookies")]
pub use cookie;
