//! Serves a directory over HTTP/1.1 and HTTP/2: try `curl -r 0-99 127.0.0.1:8080/README.md`.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::Parser;
use examples::Options;
use http_files::{Config, Files};
use protocol::Peer;

/// Serves the files below a directory.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
    /// The directory.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Follow symbolic links that stay inside the directory.
    #[arg(long)]
    symlinks: bool,
    /// Serve names that begin with a dot.
    #[arg(long)]
    dotfiles: bool,
    /// Send a file with .br, .zst or .gz behind its name to clients that prefer it.
    #[arg(long)]
    precompressed: bool,
}

fn main() -> std::io::Result<()> {
    let flags = Flags::parse();
    let config = Config::new(flags.root)
        .symlinks(flags.symlinks)
        .dotfiles(flags.dotfiles)
        .precompressed(flags.precompressed);
    let files = Files::open(config)?;
    examples::serve_http(flags.options, move |_: &Peer<'_, Infallible>| Some(files.handler()))
}
