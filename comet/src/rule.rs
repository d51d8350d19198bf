//! Rules: permissions and behaviour of channels.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::channel::{Name, Pattern};
use crate::log::Keep;
use crate::settings::{ChannelOptions, Span};

/// The permissions and behaviour of the channels that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: Pattern,
    pub(crate) subscribe: Access,
    pub(crate) publish: Access,
    pub(crate) keep: Keep,
    pub(crate) presence: bool,
    /// Whether subscribers are told of clients that come and leave.
    pub(crate) join_leave: bool,
    /// Whether a subscriber without a position first gets the newest publication.
    pub(crate) latest: bool,
    /// Whether the back end is told of what happens in the channel.
    pub(crate) webhook: bool,
    /// Whether clients of Centrifugo's protocol may ask for deltas.
    pub(crate) delta: bool,
    pub(crate) slow: Slow,
}

/// Who has a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    /// Everyone.
    Anyone,
    /// Clients whose token names the channel.
    Token,
    /// Clients whose token names the channel, and those that the back end allows.
    Proxy,
    /// No client.
    Nobody,
}

/// How to treat clients that read too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Slow {
    /// They continue from the history at their own pace.
    CatchUp,
    /// They get the newest publications, and are told what was left out.
    Skip,
    /// They are disconnected with 1013.
    Close,
}

impl Default for Rule {
    fn default() -> Self {
        Rule {
            name: Pattern::any(),
            subscribe: Access::Anyone,
            publish: Access::Token,
            keep: Keep {
                publications: 100,
                bytes: 1 << 20,
                time: Duration::from_secs(600),
            },
            presence: false,
            join_leave: false,
            latest: false,
            webhook: true,
            delta: false,
            slow: Slow::CatchUp,
        }
    }
}

/// All rules; the first that matches a channel applies.
#[derive(Debug, Clone)]
pub(crate) struct Rules(Vec<Arc<Rule>>);

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Rules(rules.into_iter().map(Arc::new).collect())
    }

    /// The rules as options, with all defaults, apart from comet's own.
    pub(crate) fn options(&self) -> Vec<ChannelOptions> {
        let rules = self.0.iter().filter(|rule| !rule.name.to_string().starts_with('$'));
        let options = rules.map(|rule| ChannelOptions {
            name: rule.name.clone(),
            subscribe: Some(rule.subscribe),
            publish: Some(rule.publish),
            history: Some(rule.keep.publications),
            history_bytes: Some(rule.keep.bytes),
            history_time: Some(Span(rule.keep.time)),
            presence: Some(rule.presence),
            join_leave: Some(rule.join_leave),
            slow: Some(rule.slow),
            latest: Some(rule.latest),
            webhook: Some(rule.webhook),
            delta: Some(rule.delta),
        });
        options.collect()
    }

    /// Rules that never apply, each with an earlier rule that applies in its place.
    pub(crate) fn hidden(&self) -> Vec<(&Pattern, &Pattern)> {
        let rules = self.0.iter().enumerate();
        let hidden = rules.filter_map(|(index, rule)| {
            let earlier = self.0.iter().take(index);
            let first = earlier
                .map(|earlier| &earlier.name)
                .find(|name| name.covers(&rule.name));
            first.map(|first| (&rule.name, first))
        });
        hidden.collect()
    }

    /// The rule of `channel`; `None` if such a channel is not permitted.
    pub(crate) fn of(&self, channel: &Name) -> Option<&Arc<Rule>> {
        self.0.iter().find(|rule| rule.name.fits(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_fits_counts() {
        let rule = |name: &str, presence| Rule {
            name: Pattern::try_from(name.to_owned()).unwrap(),
            presence,
            ..Rule::default()
        };
        let rules = Rules::new(vec![rule("room:1", true), rule("room:*", false)]);
        assert!(rules.of(&"room:1".parse().unwrap()).unwrap().presence);
        assert!(!rules.of(&"room:2".parse().unwrap()).unwrap().presence);
        assert_eq!(rules.of(&"news".parse().unwrap()), None);
    }
}
