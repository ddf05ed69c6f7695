//! A [`Group`]: tasks that live and fail together.
//!
//! When one panics, the group fails and its other tasks are dropped, each on its own kernel; other groups
//! don't notice.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Cx, Poll, Waker};

use pin_project_lite::pin_project;
use tokio::sync::{Notify, oneshot};

use crate::account::Account;
use crate::context::{KernelId, Place, TaskContext};
use crate::runtime::sim;
use crate::scheduler::{Class, Kernel, Meta, Shared, schedule};
use crate::stackful::Stackful;
use crate::sync::lock;

/// Why a group has ended before its work was done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    /// A task panicked. The remedy is in the task's code.
    #[error("task `{task}` of `{group}` panicked{}: {message}", at(.place))]
    Panicked {
        /// The group.
        group: Arc<str>,
        /// The task.
        task: Arc<str>,
        /// Where it said last that it was.
        place: Option<Place>,
        /// What it panicked with.
        message: String,
    },
    /// A task gave up.
    #[error("{0}")]
    Failed(#[source] Failure),
    /// Somebody cancelled it.
    #[error("cancelled")]
    Cancelled,
}

/// The error that a task gave up with; it is the [`source`](std::error::Error::source) of this one.
#[derive(Clone, Debug)]
pub struct Failure(Arc<dyn std::error::Error + Send + Sync>);

impl Failure {
    /// Keeps `error`.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

fn at(place: &Option<Place>) -> String {
    place.as_ref().map(|place| format!(" in {place}")).unwrap_or_default()
}

/// Why a task gives no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TaskError {
    /// It panicked; the group's error tells more.
    #[error("the task panicked")]
    Panicked,
    /// It was cancelled, or its group has failed, or the runtime is gone.
    #[error("the task was cancelled")]
    Cancelled,
}

/// See the module's page.
#[derive(Clone)]
pub struct Group(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    class: Class,
    account: Arc<Account>,
    kernels: Arc<[Arc<Shared>]>,
    ended: AtomicBool,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Tasks that have not ended.
    live: usize,
    /// To wake them when the group ends.
    wakers: BTreeMap<u64, Waker>,
    tasks: u64,
    error: Option<GroupError>,
}

/// What ends a group from outside, without keeping it.
#[derive(Clone)]
pub(crate) struct Weak(std::sync::Weak<Inner>);

impl Weak {
    pub(crate) fn upgrade(&self) -> Option<Group> {
        self.0.upgrade().map(Group)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("name", &self.0.name).field("class", &self.0.class).finish_non_exhaustive()
    }
}

impl Group {
    pub(crate) fn new(name: Arc<str>, class: Class, account: Arc<Account>, kernels: Arc<[Arc<Shared>]>) -> Self {
        Self(Arc::new(Inner {
            name,
            class,
            account,
            kernels,
            ended: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    pub(crate) fn downgrade(&self) -> Weak {
        Weak(Arc::downgrade(&self.0))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The class of its tasks.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// Its memory account, a child of the runtime's.
    pub fn account(&self) -> &Arc<Account> {
        &self.0.account
    }

    /// Starts a task on a kernel (counted round, where there are fewer). `make` runs there, and what it makes
    /// stays there: it need not be `Send`.
    pub fn spawn<T, Fut>(
        &self,
        kernel: KernelId,
        name: impl Into<Arc<str>>,
        make: impl FnOnce() -> Fut + Send + 'static,
    ) -> JoinHandle<T>
    where
        T: Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let home = self.0.kernels[kernel.0 % self.0.kernels.len()].clone();
        let meta = Arc::new(Meta { class: self.0.class, deadline: AtomicU64::new(0), home });
        let (sender, receiver) = oneshot::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let member = Member::join(self.clone());
        let handle = JoinHandle { receiver, member: member.id, group: self.clone(), cancelled: cancelled.clone() };
        let (name, home) = (name.into(), meta.home.clone());
        home.birth(move |kernel| {
            let context = TaskContext::new(name, member.group.clone(), meta.clone(), kernel);
            let future = Supervised {
                _alive: Alive::new(kernel, &context),
                future: None,
                make: Some(make),
                sender: Some(sender),
                cancelled,
                context,
                member,
            };
            let (task, detached) = async_task::Builder::new().metadata(meta).spawn_local(move |_| future, schedule);
            detached.detach();
            task.schedule();
        });
        handle
    }

    /// Starts synchronous code on a kernel, as a task with a stack of its own (1 MiB): see [`crate::stackful`].
    ///
    /// When the operating system has no memory for the stack, the task panics.
    pub fn spawn_stackful<T: Send + 'static>(
        &self,
        kernel: KernelId,
        name: impl Into<Arc<str>>,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.spawn(kernel, name, || Stackful::new(run).expect("there is memory for a task's stack"))
    }

    /// Ends the group with an error; the first one counts.
    pub fn fail(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        self.end(GroupError::Failed(Failure::new(error)));
    }

    /// Ends the group. Its tasks are dropped where they wait, each on its own kernel.
    pub fn cancel(&self) {
        self.end(GroupError::Cancelled);
    }

    fn end(&self, error: GroupError) {
        let wakers = {
            let state = &mut *lock(&self.0.state);
            state.error.get_or_insert(error);
            std::mem::take(&mut state.wakers)
        };
        self.0.ended.store(true, Ordering::Release);
        wakers.into_values().for_each(Waker::wake);
        self.0.changed.notify_waiters();
    }

    /// Whether it was cancelled or has failed.
    pub fn is_cancelled(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    /// Whether no task is left.
    pub fn is_ended(&self) -> bool {
        lock(&self.0.state).live == 0
    }

    /// Waits until it is cancelled or has failed.
    pub async fn cancelled(&self) {
        self.wait_for(|| self.is_cancelled()).await;
    }

    /// Waits until no task is left: how the group has ended.
    pub async fn join(&self) -> Result<(), GroupError> {
        self.wait_for(|| self.is_ended()).await;
        lock(&self.0.state).error.clone().map_or(Ok(()), Err)
    }

    async fn wait_for(&self, done: impl Fn() -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if done() {
                return;
            }
            changed.await;
        }
    }
}

/// A task's membership in its group, from when it is asked for to its end.
struct Member {
    group: Group,
    id: u64,
    registered: bool,
}

impl Member {
    fn join(group: Group) -> Self {
        let id = {
            let state = &mut *lock(&group.0.state);
            state.live += 1;
            state.tasks += 1;
            state.tasks
        };
        Self { group, id, registered: false }
    }

    fn register(&mut self, waker: &Waker) {
        if !std::mem::replace(&mut self.registered, true) {
            lock(&self.group.0.state).wakers.insert(self.id, waker.clone());
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let last = {
            let state = &mut *lock(&self.group.0.state);
            state.wakers.remove(&self.id);
            state.live -= 1;
            state.live == 0
        };
        if last {
            self.group.0.changed.notify_waiters();
        }
    }
}

/// Keeps a task in the list of its kernel.
struct Alive {
    kernel: Rc<Kernel>,
    id: u64,
}

impl Alive {
    fn new(kernel: &Rc<Kernel>, context: &TaskContext) -> Self {
        let name = format!("`{}` of `{}`", context.name, context.group.name());
        Self { id: kernel.add_task(name), kernel: kernel.clone() }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.kernel.remove_task(self.id);
    }
}

pin_project! {
    /// A task's future, with all that happens to a task: it is made, run in its context, caught, cancelled.
    struct Supervised<T, Fut, Make> {
        #[pin]
        future: Option<Fut>,
        make: Option<Make>,
        sender: Option<oneshot::Sender<Result<T, TaskError>>>,
        cancelled: Arc<AtomicBool>,
        context: Rc<TaskContext>,
        member: Member,
        _alive: Alive,
    }
}

impl<T, Fut: Future<Output = T>, Make: FnOnce() -> Fut> Future for Supervised<T, Fut, Make> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<()> {
        let mut this = self.project();
        let _entered = this.context.enter();
        let span = this.context.span.clone();
        let _span = span.enter();
        this.member.register(cx.waker());
        let result = if this.cancelled.load(Ordering::Acquire) || this.context.group.is_cancelled() {
            Err(TaskError::Cancelled)
        } else {
            let mut future = this.future.as_mut();
            let polled = catch_unwind(AssertUnwindSafe(|| {
                sim::begin_turn();
                if let Some(make) = this.make.take() {
                    future.set(Some(make()));
                }
                future.as_mut().as_pin_mut().map_or(Poll::Pending, |future| future.poll(cx))
            }));
            match polled {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(value)) => Ok(value),
                Err(panic) => Err(panicked(this.context, &*panic)),
            }
        };
        // The task's own values are dropped in its context, and before anybody hears of its end; those of a task that was
        // cancelled before its first turn are still with what would have made it.
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            *this.make = None;
            this.future.set(None);
        }));
        if let Err(panic) = dropped {
            panicked(this.context, &*panic);
        }
        if let Some(sender) = this.sender.take() {
            // Nobody may be waiting for the value.
            let _ = sender.send(result);
        }
        Poll::Ready(())
    }
}

/// Ends the running task and its group with `error`, out of code that has no way to return one: a function that is called for
/// each record, say. It unwinds like a panic, but nothing is printed, and the group tells the error itself.
pub fn give_up(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ! {
    resume_unwind(Box::new(Failure::new(error)))
}

/// Fails the task's group.
fn panicked(context: &TaskContext, panic: &(dyn Any + Send)) -> TaskError {
    if let Some(failure) = panic.downcast_ref::<Failure>() {
        context.group.end(GroupError::Failed(failure.clone()));
        return TaskError::Panicked;
    }
    let message = panic.downcast_ref::<&str>().map(ToString::to_string);
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    context.group.end(GroupError::Panicked {
        group: context.group.0.name.clone(),
        task: context.name.clone(),
        place: context.place(),
        message: message.unwrap_or_else(|| "a panic without a message".into()),
    });
    TaskError::Panicked
}

/// Waits for a task's value. Dropping it lets the task go on by itself.
#[derive(Debug)]
pub struct JoinHandle<T> {
    receiver: oneshot::Receiver<Result<T, TaskError>>,
    group: Group,
    member: u64,
    cancelled: Arc<AtomicBool>,
}

impl<T> JoinHandle<T> {
    /// Drops the task where it waits, on its own kernel; the group goes on.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        let waker = lock(&self.group.0.state).wakers.get(&self.member).cloned();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(cx).map(|received| received.unwrap_or(Err(TaskError::Cancelled)))
    }
}
