//! What operators with state are called in checkpoints: by what they compute, so that a query that is changed finds the state of
//! those again that are not.
//!
//! An operator goes by what it says of itself, by the operators with state before it and the tables that these read, and by the table that its
//! rows end in. Filters and projections in between are no part of that: a job goes on with the state when they are others, and
//! is [told](Layout::reads) so.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use updraft_dataflow::checkpoint::Layout;

use super::Node;

/// What an operator with state is called among those whose rows end in `sink`, and what it keeps; none where it keeps nothing.
pub(super) fn of(node: &Node, sink: &str) -> Option<(String, Layout)> {
    let (name, layout) = node.operation.keeps()?;
    let (mut text, mut reads) = (String::new(), String::new());
    origin(node, &mut text);
    node.inputs.iter().for_each(|input| whole(input, &mut reads));
    let id = format!("{name} {}", hash(&[&text, sink]));
    Some((id, Layout { text: node.operation.describe(), reads: hash(&[&reads]), ..layout }))
}

/// A few letters that stand for some texts.
fn hash(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The operators with state, and the tables.
fn origin(node: &Node, text: &mut String) {
    if let Some((scanned, side)) = node.operation.scans() {
        // Writing to a text does not fail.
        let _ = write!(text, "{} {side:?};", scanned.table.table.name);
    }
    let keeps = node.operation.keeps().is_some();
    if keeps {
        text.extend([&*node.operation.describe(), "("]);
    }
    node.inputs.iter().for_each(|input| origin(input, text));
    if keeps {
        text.push(')');
    }
}

/// All operators.
fn whole(node: &Node, text: &mut String) {
    text.extend([&*node.operation.describe(), "("]);
    node.inputs.iter().for_each(|input| whole(input, text));
    text.push(')');
}
