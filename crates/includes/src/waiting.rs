//! From the compiler, which waits, to tasks: an answer is awaited on a thread of its own, so that it makes no
//! difference whether the caller is within a runtime.

use std::future::Future;

/// The answer of a task.
pub(crate) fn wait<T: Send>(task: impl Future<Output = T> + Send) -> std::io::Result<T> {
    let on_its_own = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(task);
        // A look-up of a name that hangs must not hold the answer.
        runtime.shutdown_background();
        Ok(answer)
    };
    std::thread::scope(|scope| {
        scope.spawn(on_its_own).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
