//! Results gathered in a vector: for tests, and for programs that want the answer of a finite job. Next:
//! [`crate::channel`], for answers while the job runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use updraft_dataflow::{Bundle, Error, Record, Sink};

/// A sink that keeps all it is given. Its memory grows with the results: not for endless jobs.
#[derive(Debug)]
pub struct Collect<T> {
    records: Arc<Mutex<Vec<T>>>,
}

/// What a [`Collect`] has gathered; may be asked while the job runs and after.
#[derive(Debug)]
pub struct Collected<T> {
    records: Arc<Mutex<Vec<T>>>,
}

impl<T> Clone for Collected<T> {
    fn clone(&self) -> Self {
        Self { records: self.records.clone() }
    }
}

impl<T> Collect<T> {
    /// The sink, and the handle to read it by.
    pub fn new() -> (Self, Collected<T>) {
        let records = Arc::new(Mutex::new(Vec::new()));
        (Self { records: records.clone() }, Collected { records })
    }
}

impl<T> Collected<T> {
    /// Takes all that has come since the last time.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *lock(&self.records))
    }

    /// How many records wait to be taken.
    pub fn len(&self) -> usize {
        lock(&self.records).len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A panic elsewhere leaves the vector as good as it was.
fn lock<T>(records: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Record> Sink<T> for Collect<T> {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        lock(&self.records).extend(bundle.into_vec());
        Ok(())
    }
}
