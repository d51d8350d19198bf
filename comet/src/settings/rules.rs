//! The rules of channels: comet's own, and those of the options.

use std::time::Duration;

use super::{ChannelOptions, Problems};
use crate::channel::{Name, Pattern};
use crate::log::Keep;
use crate::node::REVOKED_KEPT;
use crate::rule::{Access, Rule, Rules, Slow};

pub(super) fn rules(problems: &mut Problems, channels: Vec<ChannelOptions>, demo: bool, secret: bool) -> Rules {
    let mut rules = Vec::new();
    let nothing = Keep {
        publications: 0,
        bytes: 0,
        time: Duration::ZERO,
    };
    let own = Rule {
        name: pattern(Name::nodes().as_str()),
        subscribe: if demo { Access::Anyone } else { Access::Nobody },
        publish: Access::Nobody,
        keep: nothing,
        presence: false,
        join_leave: false,
        latest: false,
        webhook: false,
        delta: false,
        slow: Slow::Skip,
    };
    // First, so that no other rule applies.
    rules.push(Rule {
        name: pattern(Name::orders().as_str()),
        subscribe: Access::Nobody,
        // A node that has lost its connection to the broker for a while carries out what it missed.
        keep: Keep {
            publications: 1000,
            bytes: 1 << 20,
            time: Duration::from_secs(120),
        },
        ..own.clone()
    });
    rules.push(Rule {
        name: pattern(Name::revoked().as_str()),
        subscribe: Access::Nobody,
        keep: REVOKED_KEPT,
        slow: Slow::CatchUp,
        ..own.clone()
    });
    rules.push(Rule {
        name: pattern("$join:*"),
        subscribe: Access::Nobody,
        // As for orders; and clients that read slowly catch up.
        keep: Keep {
            publications: 100,
            bytes: 64 << 10,
            time: Duration::from_secs(60),
        },
        slow: Slow::CatchUp,
        ..own.clone()
    });
    if demo {
        rules.push(Rule {
            name: pattern("demo:*"),
            publish: Access::Anyone,
            presence: true,
            ..Rule::default()
        });
    }
    let none_given = channels.is_empty();
    for channel in channels {
        rules.push(rule(problems, channel, secret));
    }
    rules.push(own);
    if none_given {
        rules.push(Rule::default());
    }
    Rules::new(rules)
}

fn rule(problems: &mut Problems, channel: ChannelOptions, secret: bool) -> Rule {
    let default = Rule::default();
    let wants_token = [channel.subscribe, channel.publish].contains(&Some(Access::Token));
    if wants_token && !secret {
        problems.add(
            &format!("channel {:?}", channel.name.to_string()),
            "needs tokens, but there is neither a secret nor token_keys",
        );
    }
    if channel.slow == Some(Slow::CatchUp) && channel.history == Some(0) {
        problems.add(
            &format!("channel {:?}", channel.name.to_string()),
            "slow clients cannot catch up without history",
        );
    }
    if channel.delta == Some(true) && channel.history == Some(0) {
        problems.add(
            &format!("channel {:?}", channel.name.to_string()),
            "without history there is nothing that a delta could be made to",
        );
    }
    if channel.latest == Some(true) && channel.history == Some(0) {
        problems.add(
            &format!("channel {:?}", channel.name.to_string()),
            "without history there is no latest publication to begin with",
        );
    }
    Rule {
        subscribe: channel.subscribe.unwrap_or(default.subscribe),
        publish: channel.publish.unwrap_or(default.publish),
        keep: Keep {
            publications: channel.history.unwrap_or(default.keep.publications),
            bytes: channel.history_bytes.unwrap_or(default.keep.bytes),
            time: channel.history_time.map_or(default.keep.time, |span| span.0),
        },
        presence: channel.presence.unwrap_or(default.presence),
        join_leave: channel.join_leave.unwrap_or(default.join_leave),
        latest: channel.latest.unwrap_or(default.latest),
        webhook: channel.webhook.unwrap_or(default.webhook),
        delta: channel.delta.unwrap_or(default.delta),
        slow: channel.slow.unwrap_or(default.slow),
        name: channel.name,
    }
}

/// A pattern of this program, which is valid.
fn pattern(text: &str) -> Pattern {
    Pattern::try_from(text.to_owned()).unwrap_or_else(|_| Pattern::any())
}
