//! Processes that take over from each other at any moment, are stopped for long, go on although they are replaced, and die; on a store
//! that fails, loses its answers, and tears what it is given. Whatever the schedule: what was told to be committed is what the next process goes on from.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the tests of archives use more of it")]
mod faulty;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use faulty::{Dice, Faulty};
use object_store::path::Path;
use object_store::{ObjectStore, local::LocalFileSystem};
use proptest::prelude::*;
use updraft_checkpoint::{Error, File, Folder, Manifest, Part};

/// What the processes were told.
#[derive(Default)]
struct Told {
    /// By number: the attempt that committed it, and its epoch.
    committed: BTreeMap<u64, (u64, u64)>,
    /// Attempts, and the epochs that they went on from.
    opened: Vec<(u64, u64)>,
}

/// A state: how many epochs there were, and the files that tell of the last ones.
#[derive(Clone, Default)]
struct State {
    epoch: u64,
    files: Vec<File>,
}

impl State {
    fn of(manifest: &Manifest) -> Self {
        Self { epoch: manifest.epoch, files: manifest.parts["counter"].files.clone() }
    }

    fn manifest(&self) -> Manifest {
        let part = Part {
            note: serde_json::json!({ "files": self.files.len() }),
            files: self.files.clone(),
            ..Part::default()
        };
        Manifest {
            job: "count".into(),
            epoch: self.epoch,
            parts: [("counter".to_owned(), part)].into(),
            ..Manifest::default()
        }
    }
}

/// Tries again while the store fails, some times.
macro_rules! insist {
    ($what:expr) => {{
        let mut result = $what.await;
        for _ in 0..20 {
            match result {
                Err(Error::Store { .. }) => result = $what.await,
                _ => break,
            }
        }
        result
    }};
}

async fn write(folder: &mut Folder, epoch: u64) -> Result<File, Error> {
    let mut writer = folder.create();
    writer.write(epoch as u8, &[epoch.to_le_bytes().to_vec().into()]).await?;
    writer.finish().await
}

/// Counts epochs, each a checkpoint made of the last three files.
async fn process(store: Arc<dyn ObjectStore>, told: Rc<RefCell<Told>>, epochs: u64) -> Result<(), Error> {
    let mut folder = insist!(Folder::open(store.clone(), &Path::from("job")))?;
    let restore = insist!(folder.restore(None))?;
    let mut state = restore.checkpoint.as_ref().map_or_else(State::default, |(_, manifest)| State::of(manifest));
    told.borrow_mut().opened.push((folder.attempt(), state.epoch));
    for _ in 0..epochs {
        let file = insist!(write(&mut folder, state.epoch + 1))?;
        state.epoch += 1;
        state.files.push(file);
        state.files.drain(..state.files.len().saturating_sub(3));
        let number = insist!(folder.commit(state.manifest()))?;
        told.borrow_mut().committed.insert(number, (folder.attempt(), state.epoch));
        if state.epoch.is_multiple_of(3) {
            insist!(folder.sweep(2))?;
        }
    }
    Ok(())
}

/// The state, if the files say the same.
async fn read(folder: &Folder, manifest: &Manifest) -> State {
    let state = State::of(manifest);
    for (file, epoch) in state.files.iter().rev().zip((1..=state.epoch).rev()) {
        let mut reader = folder.read(file).await.unwrap();
        let piece = reader.next().await.unwrap().unwrap();
        assert!(piece.ends && piece.group == epoch as u8 && *piece.bytes == epoch.to_le_bytes());
        assert_eq!(reader.next().await.unwrap(), None);
    }
    state
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
    }
}

/// Polls processes in any order; some die.
fn interleave(dice: &Dice, mut processes: Vec<Pin<Box<dyn Future<Output = Result<(), Error>>>>>) {
    while !processes.is_empty() {
        let at = dice.below(processes.len());
        // For some time it is the only one that runs.
        for _ in 0..dice.below(30) {
            if processes[at].as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                drop(processes.swap_remove(at));
                break;
            }
        }
        if !processes.is_empty() && dice.below(40) == 0 {
            drop(processes.swap_remove(dice.below(processes.len())));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_was_committed_is_lost(seed in any::<u64>(), faults in 0..8usize, epochs in proptest::collection::vec(0..12u64, 1..5)) {
        let dice = Dice::new(seed);
        let (store, told) = (Arc::new(Faulty::new(dice.clone(), faults)), Rc::new(RefCell::new(Told::default())));
        let start = |epochs: &u64| Box::pin(process(store.clone(), told.clone(), *epochs)) as Pin<Box<dyn Future<Output = _>>>;
        interleave(&dice, epochs.iter().map(start).collect());
        store.heal();
        let told = told.borrow();

        // Nobody commits after another has taken over, and who takes over goes on from all that was committed.
        for (number, (attempt, epoch)) in &told.committed {
            for (other, from) in told.opened.iter().filter(|(other, _)| other > attempt) {
                prop_assert!(number < other, "attempt {} has committed {} after attempt {}", attempt, number, other);
                prop_assert!(from >= epoch, "attempt {} goes on from {}, and {} was committed", other, from, epoch);
            }
        }

        run(async {
            let mut folder = Folder::open(store.clone(), &Path::from("job")).await.unwrap();
            let restore = folder.restore(None).await.unwrap();
            let state = match &restore.checkpoint {
                Some((_, manifest)) => read(&folder, manifest).await,
                None => State::default(),
            };
            let most = told.committed.values().map(|(_, epoch)| *epoch).max().unwrap_or_default();
            prop_assert!(state.epoch >= most, "{} was committed, and {} is there", most, state.epoch);
            // What is deleted is all that nobody needs, and no more.
            folder.sweep(1).await.unwrap();
            prop_assert_eq!(store.count("job/data"), state.files.len());
            let again = folder.restore(None).await.unwrap().checkpoint;
            prop_assert_eq!(again, restore.checkpoint);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_local_folder_goes_back_to_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let root = Path::from("state");
    let mut first = Folder::open(store.clone(), &root).await.unwrap();
    let mut numbers = Vec::new();
    for epoch in 1..=3 {
        let file = write(&mut first, epoch).await.unwrap();
        numbers.push(first.commit(State { epoch, files: vec![file] }.manifest()).await.unwrap());
    }
    let second = Folder::open(store.clone(), &root).await.unwrap();
    assert!(second.attempt() > first.attempt());
    let fenced = first.commit(State::default().manifest()).await.unwrap_err();
    assert!(matches!(fenced, Error::Fenced { .. }), "{fenced}");
    assert!(matches!(first.sweep(1).await, Err(Error::Fenced { .. })));

    // The newest is torn, of the one before a file is missing.
    let entry = |number: u64| folder.path().join(format!("state/log/{number:020}.json"));
    let text = std::fs::read_to_string(entry(numbers[2])).unwrap();
    std::fs::write(entry(numbers[2]), &text[..text.len() / 2]).unwrap();
    let restore = second.restore(None).await.unwrap();
    let (number, manifest) = restore.checkpoint.unwrap();
    assert_eq!((number, manifest.epoch, restore.damaged.len()), (numbers[1], 2, 1));
    std::fs::remove_file(folder.path().join("state/data").join(&manifest.files().next().unwrap().name)).unwrap();
    let restore = second.restore(None).await.unwrap();
    assert_eq!(restore.checkpoint.unwrap().1.epoch, 1);
    let told: Vec<_> = restore.damaged.iter().map(ToString::to_string).collect();
    assert!(told[0].contains("its end is missing") && told[1].contains("it is not there"), "{told:?}");
}
