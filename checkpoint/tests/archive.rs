//! Copies of checkpoints, taken at any moment while the job goes on and deletes what it does not need any more, on stores that fail,
//! lose answers and tear what they are given: what there is of a copy is all of a checkpoint that was committed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the tests of processes use more of it")]
mod faulty;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use faulty::{Dice, Faulty};
use object_store::ObjectStore;
use object_store::path::Path;
use proptest::prelude::*;
use updraft_checkpoint::{Archive, Error, Folder, Kept, Manifest, Part};

const FILES: u64 = 3;

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
    }
}

/// Takes checkpoints of files that all tell the epoch, and keeps the last one.
async fn job(store: Arc<dyn ObjectStore>, epochs: u64, asked: Rc<RefCell<BTreeSet<u64>>>) {
    let Ok(mut folder) = Folder::open(store, &Path::from("job")).await else { return };
    for epoch in 0..epochs {
        let mut part = Part::default();
        for _ in 0..FILES {
            let mut writer = folder.create();
            if writer.write(epoch as u8, &[epoch.to_le_bytes().to_vec().into()]).await.is_err() {
                return;
            }
            let Ok(file) = writer.finish().await else { return };
            part.files.push(file);
        }
        asked.borrow_mut().insert(epoch);
        let parts = [("counter".to_owned(), part)].into();
        let committed = folder.commit(Manifest { epoch, parts, ..Manifest::default() }).await;
        if committed.is_err() || folder.sweep(1).await.is_err() {
            return;
        }
    }
}

/// All files of a checkpoint tell its epoch.
fn must_be_whole(archive: &Archive, kept: &Kept) {
    let files: Vec<_> = kept.manifest.files().collect();
    assert_eq!(files.len() as u64, FILES);
    for file in files {
        let mut reader = run(archive.read(file)).unwrap();
        assert_eq!(run(reader.next_record()).unwrap().unwrap()[..], kept.manifest.epoch.to_le_bytes());
        assert_eq!(run(reader.next_record()).unwrap(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_is_whole_or_not_there(seed: u64, epochs in 1u64..20, faults in prop_oneof![Just(0usize), 0usize..8]) {
        let dice = Dice::new(seed);
        let faulty = Arc::new(Faulty::new(dice.clone(), faults));
        let store: Arc<dyn ObjectStore> = faulty.clone();
        let asked = Rc::new(RefCell::new(BTreeSet::new()));
        let mut works: Pin<Box<dyn Future<Output = ()>>> = Box::pin(job(store.clone(), epochs, asked.clone()));
        let mut has_ended = false;
        for copy in 0..6 {
            let to = Path::from(format!("copy-{copy}"));
            let (from, to) = (Archive::new(store.clone(), &Path::from("job")), Archive::new(store.clone(), &to));
            let mut copies = Box::pin(from.copy_newest(&to, |number| number + 100));
            // They take turns, as the dice say.
            let copied = loop {
                for _ in 0..dice.below(30) {
                    has_ended = has_ended || works.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                    if has_ended {
                        break;
                    }
                }
                if let Poll::Ready(copied) = copies.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    break copied;
                }
            };
            drop(copies);
            if let Ok(copied) = &copied {
                prop_assert!(asked.borrow().contains(&copied.manifest.epoch));
                prop_assert!(faults > 0 || copied.damaged.is_empty());
            } else if faults == 0 {
                prop_assert!(matches!(copied, Err(Error::Empty { .. })), "{copied:?}");
            }
            faulty.heal();
            let (there, damaged) = run(to.checkpoints()).unwrap();
            prop_assert!(there.len() <= 1 && (faults > 0 || damaged.is_empty()));
            prop_assert!(copied.is_err() || there.len() == 1);
            for kept in &there {
                must_be_whole(&to, kept);
                prop_assert!(asked.borrow().contains(&kept.manifest.epoch));
                prop_assert_eq!(kept.number, kept.attempt);
                // A process goes on from it as from its own, and takes over from whoever ran the job.
                let folder = run(Folder::open(store.clone(), &Path::from(format!("copy-{copy}")))).unwrap();
                let restored = run(folder.restore(None)).unwrap().checkpoint.unwrap();
                prop_assert_eq!((restored.0, &restored.1), (kept.number, &kept.manifest));
                prop_assert!(folder.attempt() > kept.number);
                // What it was copied from is in nobody's way: it cannot be copied over.
                let again = run(from.copy_newest(&to, |number| number));
                prop_assert!(matches!(again, Err(Error::Occupied { .. })), "{again:?}");
            }
            faulty.fail(faults);
        }
    }
}

#[test]
fn what_is_damaged_is_not_copied() {
    let store: Arc<dyn ObjectStore> = Arc::new(Faulty::new(Dice::new(1), 0));
    let asked = Rc::default();
    run(job(store.clone(), 3, asked));
    let from = Archive::new(store.clone(), &Path::from("job"));
    let (kept, _) = run(from.checkpoints()).unwrap();
    let file = kept[0].manifest.files().next().unwrap().name.clone();
    let path = Path::from("job").join("data").join(&*file);
    let mut bytes =
        run(async { store.get_opts(&path, Default::default()).await.unwrap().bytes().await.unwrap() }).to_vec();
    bytes[20] ^= 1;
    run(store.put_opts(&path, bytes.into(), Default::default())).unwrap();
    let to = Archive::new(store.clone(), &Path::from("copy"));
    let error = run(from.copy_newest(&to, |number| number)).unwrap_err();
    assert!(matches!(&error, Error::Damaged { .. }), "{error}");
    assert!(run(to.checkpoints()).unwrap().0.is_empty());
    let nothing = Archive::new(store, &Path::from("nothing"));
    assert!(matches!(run(nothing.copy_newest(&to, |number| number)), Err(Error::Empty { .. })));
}
