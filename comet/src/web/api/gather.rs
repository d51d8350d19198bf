//! Gathers the broker's answers to the commands of one request.

use std::sync::{Arc, Mutex, PoisonError};

use protocol::Sender;

use crate::broker::{Done, Trouble};
use crate::channel::Name;
use crate::messages::Id;
use crate::node::{Answer, Outcome, Post};

/// The outcomes of all questions of one request, which are posted together when the last one is there.
pub(super) struct Gather {
    sender: Sender<Post>,
    state: Mutex<State>,
}

struct State {
    outcomes: Vec<Option<Outcome>>,
    left: usize,
}

impl Gather {
    /// For this many questions, of which there is at least one.
    pub(super) fn new(sender: Sender<Post>, questions: usize) -> Arc<Self> {
        Arc::new(Gather {
            sender,
            state: Mutex::new(State {
                outcomes: std::iter::repeat_with(|| None).take(questions).collect(),
                left: questions,
            }),
        })
    }

    /// Makes an outcome that of the question with this index.
    pub(super) fn done<T: 'static>(
        self: &Arc<Self>,
        index: usize,
        outcome: fn(Result<T, Trouble>) -> Outcome,
    ) -> Done<T> {
        let gather = Arc::clone(self);
        Done::new(move |result| gather.set(index, outcome(result)))
    }

    fn set(&self, index: usize, outcome: Outcome) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = state.outcomes.get_mut(index) {
            *place = Some(outcome);
        }
        state.left = state.left.saturating_sub(1);
        if state.left > 0 {
            return;
        }
        let outcomes = std::mem::take(&mut state.outcomes).into_iter().flatten().collect();
        drop(state);
        let answer = Answer {
            to: Id::NONE,
            channel: Name::nodes(),
            outcome: Outcome::All(outcomes),
        };
        // If the mailbox is full or the connection has ended, the back end times out.
        let _ = self.sender.send(Post::Answer(Box::new(answer)));
    }
}
