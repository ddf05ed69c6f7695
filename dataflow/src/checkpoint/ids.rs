//! What the parts of a job are called in checkpoints, so that state finds its operator again in a job that has been changed.
//!
//! A source and a sink go by their names, an operator with state by the [uid](crate::Stream::uid) that it was given. One without
//! goes by its own name and by what it reads: the sources and the operators with state before it. So it is called the same whatever is
//! done elsewhere, and whatever stateless operators there are in between. Those that cannot be told apart so are numbered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Layout;
use crate::explain::NodeKind;
use crate::source::Error;
use crate::table::hash_of;

/// A node of the graph, as far as ids go.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) kind: NodeKind,
    /// Of a stage, its operators.
    pub(crate) name: String,
    pub(crate) uid: Option<Arc<str>>,
    /// Whether it is part of checkpoints.
    pub(crate) is_part: bool,
    /// The nodes that it reads from, and which of their outlets.
    pub(crate) inputs: Vec<(usize, &'static str)>,
    pub(crate) layout: Layout,
}

/// A part that a job has.
#[derive(Clone, Debug)]
pub(crate) struct Id {
    pub(crate) kind: NodeKind,
    pub(crate) id: Arc<str>,
    /// How many there are of that name, which was made up.
    pub(crate) is_one_of: Option<usize>,
    pub(crate) layout: Layout,
}

/// As long as an id becomes before what is read is told by its hash.
const LONG: usize = 120;

/// What each node is called; none where it is no part.
///
/// # Errors
/// When two have been given the same one.
pub(crate) fn ids(nodes: &[Named]) -> Result<Vec<Option<Id>>, Error> {
    let mut names = Names { nodes, known: vec![None; nodes.len()] };
    let mut groups = BTreeMap::<String, Vec<usize>>::new();
    for (at, node) in nodes.iter().enumerate().filter(|(_, node)| node.is_part) {
        let name = names.of(at);
        groups.entry(format!("{} {name}", node.kind)).or_default().push(at);
    }
    let mut ids = vec![None; nodes.len()];
    for (name, group) in groups {
        if let [one, other, ..] = &group[..]
            && group.iter().any(|at| nodes[*at].uid.is_some())
        {
            let of = |at: &usize| format!("`{}`", nodes[*at].name);
            return Err(format!(
                "both {} and {} are called `{name}`: give one of them another `uid`",
                of(one),
                of(other)
            )
            .into());
        }
        for (number, at) in group.iter().enumerate() {
            let id = if number == 0 { name.clone() } else { format!("{name} #{}", number + 1) };
            ids[*at] = Some(Id {
                kind: nodes[*at].kind,
                id: id.into(),
                is_one_of: nodes[*at].uid.is_none().then_some(group.len()),
                layout: nodes[*at].layout.clone(),
            });
        }
    }
    Ok(ids)
}

/// What nodes are called, once somebody has asked.
struct Names<'a> {
    nodes: &'a [Named],
    known: Vec<Option<Arc<str>>>,
}

impl Names<'_> {
    /// What a part is called; of other nodes, what they read.
    fn of(&mut self, at: usize) -> Arc<str> {
        if let Some(known) = &self.known[at] {
            return known.clone();
        }
        let node = &self.nodes[at];
        let name = match (&node.uid, node.kind) {
            (Some(uid), _) => uid.clone(),
            (None, NodeKind::Source | NodeKind::Sink) => node.name.as_str().into(),
            (None, NodeKind::Stage) if node.is_part => {
                let (operator, reads) = (node.name.rsplit(" → ").next().unwrap_or_default(), self.inputs(at));
                let name = format!("{operator} of {reads}");
                if name.len() > LONG { format!("{operator} of {:016x}", hash_of(&reads)).into() } else { name.into() }
            }
            (None, NodeKind::Stage) => self.inputs(at),
        };
        self.known[at] = Some(name.clone());
        name
    }

    fn inputs(&mut self, at: usize) -> Arc<str> {
        let mut inputs = BTreeSet::new();
        for (from, outlet) in self.nodes[at].inputs.clone() {
            let name = self.of(from);
            inputs.insert(if outlet.is_empty() { name.to_string() } else { format!("{name} {outlet}") });
        }
        let several = inputs.len() > 1;
        let all = inputs.into_iter().collect::<Vec<_>>().join(", ");
        if several { format!("({all})").into() } else { all.into() }
    }
}
