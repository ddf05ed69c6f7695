//! [`Cores`]: which core each kernel's thread stays on, and which the threads that wait for the disk may use.

use std::sync::Arc;

use core_affinity::CoreId;

/// One for each kernel; none where kernels are not pinned.
#[derive(Clone)]
pub(super) struct Cores(Arc<[CoreId]>);

impl Cores {
    /// For so many kernels, if they are to be pinned and there are enough cores.
    pub(super) fn new(kernels: usize, pin: bool) -> Self {
        let mut cores = if pin { core_affinity::get_core_ids().unwrap_or_default() } else { Vec::new() };
        cores.truncate(if cores.len() < kernels { 0 } else { kernels });
        Self(cores.into())
    }

    /// Keeps this thread on a kernel's core; false if the system will not have it.
    pub(super) fn pin(&self, kernel: usize) -> bool {
        self.0.get(kernel).is_none_or(|core| core_affinity::set_for_current(*core))
    }

    /// Lets this thread use the cores of all kernels. One that a kernel starts would stay on that kernel's.
    pub(super) fn share(&self) {
        #[cfg(target_os = "linux")]
        if !self.0.is_empty() {
            let mut cores = rustix::thread::CpuSet::new();
            let known = self.0.iter().filter(|core| core.id < rustix::thread::CpuSet::MAX_CPU);
            known.for_each(|core| cores.set(core.id));
            if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
                tracing::debug!(%error, "a thread stays on the core of the kernel that started it");
            }
        }
    }
}
