//! Asking the memory for a cache line before it is needed.

/// Asks the memory for the element of `slice` at `index`; nothing happens where there is none, or where the
/// architecture has no such instruction.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if index < slice.len() {
        #[expect(unsafe_code, reason = "the instruction is offered for raw pointers only")]
        // SAFETY: the index is within the slice; prefetching reads nothing and cannot fault.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().add(index).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index);
}
