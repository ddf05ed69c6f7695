//! A channel between tasks of any two kernels: a ring without locks (`rtrb`), and a signal for each end.

use std::sync::Arc;

use super::{Closed, Receiver, Sender, TryRecvError, TrySendError};
use crate::signal::Signal;
use crate::sync::ring::{Consumer, PopError, Producer, PushError, RingBuffer};

/// What each end waits for.
#[derive(Default)]
struct Signals {
    room: Signal,
    value: Signal,
}

/// The sending end of [`spsc`].
pub struct SpscSender<T> {
    ring: Option<Producer<T>>,
    signals: Arc<Signals>,
}

/// The receiving end of [`spsc`].
pub struct SpscReceiver<T> {
    ring: Option<Consumer<T>>,
    signals: Arc<Signals>,
}

/// A channel of `capacity` values (at least one) between any two tasks.
pub fn spsc<T: Send>(capacity: usize) -> (SpscSender<T>, SpscReceiver<T>) {
    let (producer, consumer) = RingBuffer::new(capacity.max(1));
    let signals = Arc::new(Signals::default());
    (SpscSender { ring: Some(producer), signals: signals.clone() }, SpscReceiver { ring: Some(consumer), signals })
}

impl<T: Send> Sender<T> for SpscSender<T> {
    async fn send(&mut self, mut value: T) -> Result<(), Closed<T>> {
        loop {
            match self.try_send(value) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(back)) => return Err(Closed(back)),
                Err(TrySendError::Full(back)) => value = back,
            }
            self.signals.room.wait().await;
        }
    }

    fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        let Some(ring) = &mut self.ring else { return Err(TrySendError::Closed(value)) };
        if ring.is_abandoned() {
            return Err(TrySendError::Closed(value));
        }
        match ring.push(value) {
            Ok(()) => {
                self.signals.value.set();
                Ok(())
            }
            Err(PushError::Full(back)) => Err(TrySendError::Full(back)),
        }
    }
}

impl<T: Send> Receiver<T> for SpscReceiver<T> {
    async fn recv(&mut self) -> Option<T> {
        loop {
            match self.try_recv() {
                Ok(value) => return Some(value),
                Err(TryRecvError::Closed) => return None,
                Err(TryRecvError::Empty) => self.signals.value.wait().await,
            }
        }
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let Some(ring) = &mut self.ring else { return Err(TryRecvError::Closed) };
        // Asked before the look: what a sender sends before it goes is seen by the look after.
        let gone = ring.is_abandoned();
        match ring.pop() {
            Ok(value) => {
                self.signals.room.set();
                Ok(value)
            }
            Err(PopError::Empty) if gone => Err(TryRecvError::Closed),
            Err(PopError::Empty) => Err(TryRecvError::Empty),
        }
    }
}

impl<T> Drop for SpscSender<T> {
    fn drop(&mut self) {
        // The ring goes first, so that who is woken sees that it is gone.
        self.ring = None;
        self.signals.value.set();
    }
}

impl<T> Drop for SpscReceiver<T> {
    fn drop(&mut self) {
        self.ring = None;
        self.signals.room.set();
    }
}
