//! A channel between two tasks of one kernel: a queue and two wakers, no atomics.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::{Closed, Receiver, Sender, TryRecvError, TrySendError};

struct Ring<T> {
    queue: VecDeque<T>,
    capacity: usize,
    sender: End,
    receiver: End,
}

/// One end: whether it is there, and whom to wake.
struct End {
    alive: bool,
    waker: Option<Waker>,
}

impl End {
    const fn new() -> Self {
        Self { alive: true, waker: None }
    }

    fn wake(&mut self) {
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

/// The sending end of [`local`].
pub struct LocalSender<T>(Rc<RefCell<Ring<T>>>);

/// The receiving end of [`local`].
pub struct LocalReceiver<T>(Rc<RefCell<Ring<T>>>);

/// A channel of `capacity` values (at least one) between two tasks of one kernel.
pub fn local<T>(capacity: usize) -> (LocalSender<T>, LocalReceiver<T>) {
    let capacity = capacity.max(1);
    let queue = VecDeque::with_capacity(capacity);
    let ring = Ring { queue, capacity, sender: End::new(), receiver: End::new() };
    let ring = Rc::new(RefCell::new(ring));
    (LocalSender(ring.clone()), LocalReceiver(ring))
}

impl<T> Sender<T> for LocalSender<T> {
    async fn send(&mut self, value: T) -> Result<(), Closed<T>> {
        let mut value = Some(value);
        poll_fn(|cx| {
            let Some(sending) = value.take() else { return Poll::Ready(Ok(())) };
            match self.try_send(sending) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(TrySendError::Closed(back)) => Poll::Ready(Err(Closed(back))),
                Err(TrySendError::Full(back)) => {
                    value = Some(back);
                    self.0.borrow_mut().sender.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        let ring = &mut *self.0.borrow_mut();
        if !ring.receiver.alive {
            return Err(TrySendError::Closed(value));
        }
        if ring.queue.len() == ring.capacity {
            return Err(TrySendError::Full(value));
        }
        ring.queue.push_back(value);
        ring.receiver.wake();
        Ok(())
    }
}

impl<T> Receiver<T> for LocalReceiver<T> {
    async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| match self.try_recv() {
            Ok(value) => Poll::Ready(Some(value)),
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => {
                self.0.borrow_mut().receiver.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let ring = &mut *self.0.borrow_mut();
        let value = ring.queue.pop_front();
        if value.is_some() {
            ring.sender.wake();
        }
        value.ok_or(if ring.sender.alive { TryRecvError::Empty } else { TryRecvError::Closed })
    }
}

impl<T> Drop for LocalSender<T> {
    fn drop(&mut self) {
        let ring = &mut *self.0.borrow_mut();
        ring.sender.alive = false;
        ring.receiver.wake();
    }
}

impl<T> Drop for LocalReceiver<T> {
    fn drop(&mut self) {
        let queue = {
            let ring = &mut *self.0.borrow_mut();
            ring.receiver.alive = false;
            ring.sender.wake();
            std::mem::take(&mut ring.queue)
        };
        // Outside of the borrow: a value's own drop may do anything.
        drop(queue);
    }
}
