//! Which folder is whose: each INSERT of a run has one, and keeps it when statements come and go around it.

use std::collections::{BTreeMap, BTreeSet};

/// The folders of a run's jobs, by number, and the tables that each has filled.
#[derive(Default, Debug)]
pub(super) struct Folders {
    known: BTreeMap<usize, BTreeSet<String>>,
    /// Those that jobs have been given.
    given: BTreeSet<usize>,
}

impl Folders {
    pub(super) fn new(known: BTreeMap<usize, BTreeSet<String>>) -> Self {
        Self { known, given: BTreeSet::new() }
    }

    /// The folder of each of these jobs: the one that has most of its tables; of those that have none, in order, one that is
    /// left over, or a new one.
    pub(super) fn give(&mut self, jobs: &[Vec<String>]) -> Vec<usize> {
        let mut pairs = Vec::new();
        for (job, tables) in jobs.iter().enumerate() {
            for (folder, filled) in self.known.iter().filter(|(folder, _)| !self.given.contains(folder)) {
                let common = tables.iter().filter(|table| filled.contains(*table)).count();
                pairs.push((usize::MAX - common, job, *folder));
            }
        }
        pairs.sort_unstable();
        let mut found = vec![None; jobs.len()];
        for (_, job, folder) in pairs {
            if found[job].is_none() && self.given.insert(folder) {
                found[job] = Some(folder);
            }
        }
        found.into_iter().map(|folder| folder.unwrap_or_else(|| self.create())).collect()
    }

    fn create(&mut self) -> usize {
        let last = self.known.keys().chain(&self.given).max().copied().unwrap_or_default();
        self.given.insert(last + 1);
        last + 1
    }

    /// Those of no job.
    pub(super) fn left(&self) -> impl Iterator<Item = usize> {
        self.known.keys().copied().filter(|folder| !self.given.contains(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(known: &[&[&str]]) -> Folders {
        let filled = |tables: &&[&str]| tables.iter().map(|table| (*table).to_owned()).collect();
        Folders::new((1..).zip(known.iter().map(filled)).collect())
    }

    fn jobs(jobs: &[&[&str]]) -> Vec<Vec<String>> {
        jobs.iter().map(|tables| tables.iter().map(|table| (*table).to_owned()).collect()).collect()
    }

    #[test]
    fn jobs_keep_their_folders() {
        assert_eq!(folders(&[]).give(&jobs(&[&["a"], &["b"]])), [1, 2]);
        assert_eq!(folders(&[&["a"], &["b"]]).give(&jobs(&[&["b"], &["a"]])), [2, 1]);
        assert_eq!(folders(&[&["a"], &["b"]]).give(&jobs(&[&["new"], &["a"], &["b"]])), [3, 1, 2]);
        assert_eq!(folders(&[&["a", "b"], &["c"]]).give(&jobs(&[&["c", "d"], &["b", "e"]])), [2, 1]);
        // Another table in place of one that is gone: whoever runs it is told.
        assert_eq!(folders(&[&["a"], &["b"]]).give(&jobs(&[&["c"], &["b"]])), [1, 2]);
        let mut fewer = folders(&[&["a"], &["b"]]);
        assert_eq!(fewer.give(&jobs(&[&["b"]])), [2]);
        assert_eq!(fewer.left().collect::<Vec<_>>(), [1]);
        // One that nobody has known of.
        assert_eq!(fewer.give(&jobs(&[&["c"]])), [1]);
        assert_eq!(fewer.give(&jobs(&[&["d"]])), [3]);
    }
}
