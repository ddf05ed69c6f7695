//! What a task knows of itself and of where it runs.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::account::Account;
use crate::clock::Nanos;
use crate::group::Group;
use crate::scheduler::{Class, Kernel, Meta};

/// Which kernel, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KernelId(pub usize);

impl fmt::Display for KernelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}", self.0)
    }
}

/// The running task.
pub(crate) struct TaskContext {
    pub(crate) name: Arc<str>,
    pub(crate) group: Group,
    pub(crate) meta: Arc<Meta>,
    pub(crate) span: tracing::Span,
    pub(crate) kernels: usize,
    place: RefCell<Option<Arc<str>>>,
    position: Cell<u64>,
    epoch: Cell<Option<u64>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<TaskContext>>> = const { RefCell::new(None) };
}

impl TaskContext {
    pub(crate) fn new(name: Arc<str>, group: Group, meta: Arc<Meta>, kernel: &Kernel) -> Rc<Self> {
        let span = tracing::info_span!("task", kernel = meta.home.id.0, job = group.name(), task = &*name);
        let kernels = kernel.kernels;
        Rc::new(Self {
            name,
            group,
            meta,
            span,
            kernels,
            place: RefCell::default(),
            position: Cell::new(0),
            epoch: Cell::new(None),
        })
    }

    /// Makes this the running task until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered(CURRENT.replace(Some(self.clone())))
    }

    /// Where the task said last that it was.
    pub(crate) fn place(&self) -> Option<Place> {
        let operator = self.place.borrow().clone()?;
        Some(Place { operator, position: self.position.get() })
    }
}

/// Restores the task that ran before.
pub(crate) struct Entered(Option<Rc<TaskContext>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// A place in a task's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the task was doing.
    pub operator: Arc<str>,
    /// Where in its input it was.
    pub position: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, at record {}", self.operator, self.position)
    }
}

/// The running task, as it may ask for itself.
#[derive(Clone)]
pub struct Context(Rc<TaskContext>);

impl Context {
    /// The kernel that runs it.
    pub fn kernel(&self) -> KernelId {
        self.0.meta.home.id
    }
    /// How many kernels the runtime has.
    pub fn kernels(&self) -> usize {
        self.0.kernels
    }
    /// Its name.
    pub fn task(&self) -> &str {
        &self.0.name
    }
    /// Its group.
    pub fn group(&self) -> &Group {
        &self.0.group
    }
    /// Its class.
    pub fn class(&self) -> Class {
        self.0.meta.class
    }
    /// Its group's memory account.
    pub fn account(&self) -> &Arc<Account> {
        self.0.group.account()
    }
}

/// The running task; `None` outside a task.
pub fn current() -> Option<Context> {
    CURRENT.with_borrow(|current| current.clone().map(Context))
}

/// The kernel of this thread; `None` outside a kernel's thread.
pub fn kernel_id() -> Option<KernelId> {
    Kernel::current().map(|kernel| kernel.shared.id)
}

/// Until when the running task should run when it is ready next: among stream tasks, the earliest goes
/// first. Without a deadline a task's is the moment it became ready. Does nothing outside a task.
pub fn set_deadline(deadline: Nanos) {
    CURRENT.with_borrow(|current| {
        if let Some(task) = current {
            task.meta.deadline.store(deadline.0, Ordering::Relaxed);
        }
    });
}

/// Says which epoch the running task works on from now on. Does nothing outside a task.
pub fn set_epoch(epoch: u64) {
    CURRENT.with_borrow(|current| current.iter().for_each(|task| task.epoch.set(Some(epoch))));
}

/// The epoch that the running task works on, if it has said so.
pub fn epoch() -> Option<u64> {
    CURRENT.with_borrow(|current| current.as_ref()?.epoch.get())
}

/// Leaves a trace of what the running task is doing, and where in its input it is: told with the error when it panics.
/// Does nothing outside a task.
pub fn set_place(operator: &Arc<str>, position: u64) {
    CURRENT.with_borrow(|current| {
        if let Some(task) = current {
            task.position.set(position);
            let place = &mut *task.place.borrow_mut();
            if !place.as_ref().is_some_and(|place| Arc::ptr_eq(place, operator)) {
                *place = Some(operator.clone());
            }
        }
    });
}
