//! Sends received bytes back.

use std::convert::Infallible;

use protocol::{Cx, Input, Protocol};

struct Echo;

impl Protocol for Echo {
    type Message = Infallible;
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        cx.send(input.take_all());
        Ok(())
    }
}

fn main() -> std::io::Result<()> {
    examples::serve(|_| Some(Echo))
}
