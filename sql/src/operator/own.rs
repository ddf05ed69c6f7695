//! [`Own`]: what an operator's instance has for itself.

use datafusion_common::Result;

use crate::fail::fail;

/// State of an instance: a copy of the operator begins without.
#[derive(Debug)]
pub(crate) struct Own<T>(Option<T>);

impl<T> Default for Own<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for Own<T> {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl<T> Own<T> {
    /// The state; made when it is asked for first.
    pub(crate) fn get(&mut self, make: impl FnOnce() -> Result<T>) -> Result<&mut T> {
        Ok(match &mut self.0 {
            Some(state) => state,
            empty => empty.insert(make()?),
        })
    }

    /// The state, where there is some: there is none then.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.take()
    }

    /// The state, where there is some.
    pub(crate) fn peek(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

/// The result; where there is none, the job ends with the error.
pub(crate) fn settled<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| fail(error))
}
