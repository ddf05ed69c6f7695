//! What a job is made of, before it runs: its sources, its stages with the operators that are fused in each, how records get from one
//! to the next, its sinks. As text, and as Graphviz.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::checkpoint::Layout;
use crate::checkpoint::ids::Named;
use crate::exchange::Outlet;

/// A job's graph. `Display` is text for people.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The job.
    pub job: Arc<str>,
    /// What it is owed, and in which order epochs are worked on.
    pub about: String,
    /// The sources, then the others as they were described: a node reads from those before it.
    pub nodes: Vec<Node>,
}

/// A source, a stage or a sink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Which of them.
    pub kind: NodeKind,
    /// Its name; of a stage, its operators, which are one loop.
    pub name: String,
    /// What is particular about it: its state, its epochs.
    pub about: String,
    /// What it reads from.
    pub inputs: Vec<Edge>,
}

/// What a part of a job is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NodeKind {
    /// Where records come from.
    Source,
    /// Work between two pipeline breakers.
    Stage,
    /// Where records go.
    Sink,
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Stage => "stage",
            Self::Sink => "sink",
        })
    }
}

/// From where a node reads, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The node, by its place in the list.
    pub from: usize,
    /// Which of its outlets, where it has several: late records, dead letters.
    pub outlet: &'static str,
    /// How bundles get to it.
    pub exchange: Exchange,
}

/// How bundles get from one node to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exchange {
    /// They lie down on the kernel that made them; whichever kernel is idle takes them.
    Any,
    /// Each goes to the kernel that owns its key groups.
    KeyGroups,
    /// All go to the one task of a sink.
    One,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any kernel",
            Self::KeyGroups => "by key group",
            Self::One => "one task",
        })
    }
}

/// A graph that is being described.
#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<Drawn>,
    /// By outlet: the nodes that give to it, and which of their outlets it is. A source is described after those that read its
    /// late records.
    outlets: BTreeMap<usize, Vec<(usize, &'static str)>>,
}

/// A node, and which outlet it reads.
struct Drawn {
    kind: NodeKind,
    name: String,
    about: String,
    reads: Option<(usize, Exchange)>,
    /// Whether it is part of checkpoints, and what it is called there, if somebody has said so.
    is_part: bool,
    uid: Option<Arc<str>>,
    layout: Layout,
}

/// What is said of a part after it was added.
pub(crate) enum Change {
    Uid(Arc<str>),
    Layout(Layout),
}

/// What tells outlets apart; they live as long as the description.
fn id<T>(outlet: &Arc<Outlet<T>>) -> usize {
    Arc::as_ptr(outlet) as usize
}

impl Graph {
    /// Adds a source; its outlets are added by [`gives`](Self::gives).
    pub(crate) fn source(&mut self, name: &str, about: String) -> usize {
        self.add(NodeKind::Source, name.into(), about, None)
    }

    fn add(&mut self, kind: NodeKind, name: String, about: String, reads: Option<(usize, Exchange)>) -> usize {
        let (is_part, uid, layout) = (kind != NodeKind::Stage, None, Layout::default());
        self.nodes.push(Drawn { kind, name, about, reads, is_part, uid, layout });
        self.nodes.len() - 1
    }

    /// Adds a stage or a sink that reads from `upstream`: its number.
    pub(crate) fn reads<T>(
        &mut self,
        kind: NodeKind,
        name: String,
        about: &str,
        upstream: &Arc<Outlet<T>>,
        exchange: Exchange,
    ) -> usize {
        self.add(kind, name, about.into(), Some((id(upstream), exchange)))
    }

    /// The node that was added last keeps something.
    pub(crate) fn keeps(&mut self) {
        self.nodes.last_mut().into_iter().for_each(|node| node.is_part = true);
    }

    /// Changes the source or the stage with state that gives to `outlet`: whether there is one.
    pub(crate) fn part<T>(&mut self, outlet: &Arc<Outlet<T>>, change: Change) -> bool {
        let givers = self.outlets.get(&id(outlet)).into_iter().flatten();
        let part = givers.map(|(at, _)| *at).find(|at| self.nodes[*at].is_part);
        let Some(part) = part.map(|at| &mut self.nodes[at]) else { return false };
        match change {
            Change::Uid(uid) => part.uid = Some(uid),
            Change::Layout(layout) => part.layout = layout,
        }
        true
    }

    /// All nodes, as far as the ids of checkpoints go, by number.
    pub(crate) fn named(&self) -> Vec<Named> {
        let inputs = |drawn: &Drawn| drawn.reads.and_then(|(outlet, _)| self.outlets.get(&outlet)).cloned();
        let named = |drawn: &Drawn| Named {
            kind: drawn.kind,
            name: drawn.name.clone(),
            uid: drawn.uid.clone(),
            is_part: drawn.is_part,
            inputs: inputs(drawn).unwrap_or_default(),
            layout: drawn.layout.clone(),
        };
        self.nodes.iter().map(named).collect()
    }

    /// The names of the sinks that what each node is given comes to.
    pub(crate) fn leads_to(&self) -> Vec<BTreeSet<Arc<str>>> {
        let mut leads_to = vec![BTreeSet::new(); self.nodes.len()];
        for sink in (0..self.nodes.len()).filter(|at| self.nodes[*at].kind == NodeKind::Sink) {
            let name: Arc<str> = self.nodes[sink].name.as_str().into();
            let mut above = vec![sink];
            while let Some(at) = above.pop() {
                if leads_to[at].insert(name.clone()) {
                    let givers = self.nodes[at].reads.and_then(|(outlet, _)| self.outlets.get(&outlet));
                    above.extend(givers.into_iter().flatten().map(|(giver, _)| *giver));
                }
            }
        }
        leads_to
    }

    /// The node that was added last gives to `outlet`.
    pub(crate) fn gives<T>(&mut self, outlet: &Arc<Outlet<T>>, name: &'static str) {
        let last = self.nodes.len() - 1;
        self.outlets.entry(id(outlet)).or_default().push((last, name));
    }

    /// All nodes: the sources first.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let mut order: Vec<_> = (0..self.nodes.len()).collect();
        order.sort_by_key(|at| self.nodes[*at].kind != NodeKind::Source);
        let place = |drawn: usize| order.iter().position(|at| *at == drawn);
        let inputs = |drawn: &Drawn| {
            let (outlet, exchange) = drawn.reads?;
            let givers = self.outlets.get(&outlet)?.iter();
            Some(givers.filter_map(|(from, outlet)| Some(Edge { from: place(*from)?, outlet, exchange })).collect())
        };
        let node = |drawn: &Drawn| Node {
            kind: drawn.kind,
            name: drawn.name.clone(),
            about: drawn.about.clone(),
            inputs: inputs(drawn).unwrap_or_default(),
        };
        order.iter().map(|at| node(&self.nodes[*at])).collect()
    }
}

/// A node, as text for people: its place in the list, what it is, and from which nodes it reads, by which of their outlets and how.
pub fn described<'a>(
    number: usize,
    kind: &impl fmt::Display,
    name: &str,
    about: &str,
    inputs: impl Iterator<Item = (usize, &'a str, impl fmt::Display)>,
) -> String {
    let mut text = format!("{number:>3} {kind}: {name}\n");
    if !about.is_empty() {
        text += &format!("      {about}\n");
    }
    for (from, outlet, exchange) in inputs {
        let outlet = if outlet.is_empty() { String::new() } else { format!(" ({outlet})") };
        text += &format!("      from {from}{outlet}, {exchange}\n");
    }
    text
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "job {}: {}", self.job, self.about)?;
        for (number, node) in self.nodes.iter().enumerate() {
            let inputs = node.inputs.iter().map(|edge| (edge.from, edge.outlet, edge.exchange));
            f.write_str(&described(number, &node.kind, &node.name, &node.about, inputs))?;
        }
        Ok(())
    }
}

impl Explanation {
    /// The graph in the language of Graphviz: `dot -Tsvg`.
    pub fn dot(&self) -> String {
        let mut dot = format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n", quoted(&self.job));
        for (number, node) in self.nodes.iter().enumerate() {
            let shape = match node.kind {
                NodeKind::Source => "shape=cds",
                NodeKind::Stage => "shape=box, style=rounded",
                NodeKind::Sink => "shape=folder",
            };
            let label =
                if node.about.is_empty() { node.name.clone() } else { format!("{}\n{}", node.name, node.about) };
            dot += &format!("  n{number} [label={}, {shape}];\n", quoted(&label));
            for edge in &node.inputs {
                let label = if edge.outlet.is_empty() { edge.exchange.to_string() } else { edge.outlet.to_string() };
                dot += &format!("  n{} -> n{number} [label={}];\n", edge.from, quoted(&label));
            }
        }
        dot + "}\n"
    }
}

/// A string as Graphviz reads it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
