//! Starting, supervising and stopping children: the only place that starts a job's processes and the only one with
//! `unsafe` (all of it in `kernel.rs`).
//!
//! Called by the executors. It must never know jobs: it runs a program once, keeps its output and its end.
//!
//! # How a program is run
//!
//! The caller ([`start`]) starts its own binary again as a *supervisor* (`__supervise`). The supervisor detaches from the
//! caller (own session, ignores the terminal's signals), starts the program in a process group of its own, moves its output into
//! the raw log, writes down how it ended and ends. The caller only waits for the supervisor. If the caller dies the supervisor
//! goes on; a later process finds it by [`reattach`].
//!
//! Orders and the program's standard input reach the supervisor as anonymous files that are complete before it exists: there is
//! no half an order, and no secret on a command line or on a disk.
//!
//! # At most once
//!
//! Everything is decided by three names in the job's directory, for a key `K` and an attempt `n` = 0, 1, …:
//!
//! * `K.n.claim` is made by `link`, so it appears once, whole, and whoever made it knows. It is either *taken* by a
//!   supervisor (process id and start time) or *void*.
//! * `K.n.exit.tmp` is made, with room for the result, before the claim, so that a disk that fills up later cannot lose the result.
//! * `K.n.exit` is the result, renamed from it.
//!
//! Rules: (1) a supervisor starts its program only after it took claim `n`, and only once; (2) claims never go while the job's
//! directory is there; (3) [`start`] uses the first `n` without a claim and refuses if an earlier one is taken;
//! (4) [`reattach`] makes the first free claim void, so that a supervisor still on its way finds it and ends.
//! From (2) and (3): once a claim is taken no later attempt is ever made; from (1): the program ran at most once.
//! One process at a time calls `start` and `reattach` for a directory (the lock on the state directory);
//! even if two did, `link` lets one supervisor through for each `n`, and a second `start` sees the taken claim or shares the `n`.
//!
//! Where a `SIGKILL` can fall, and what the next process finds:
//!
//! | killed | where | found by [`reattach`] | program ran |
//! | --- | --- | --- | --- |
//! | caller | before the supervisor exists | no claim → void → [`Reattach::NeverStarted`] | 0 |
//! | caller | supervisor exists, has no claim yet | whoever links first: `NeverStarted` (the supervisor then ends) or [`Reattach::Running`] | 0 or 1 |
//! | caller | after the claim, any time | `Running`, or [`Reattach::Ended`] | 1 |
//! | supervisor | before the claim | no claim → void → `NeverStarted` | 0 |
//! | supervisor | after the claim, before the program starts | [`Reattach::Lost`] | 0 |
//! | supervisor | while the program runs, or before `K.n.exit` is there | `Lost` | 1 |
//! | supervisor | after `K.n.exit` is there | `Ended` | 1 |
//! | re-attaching process | before its claim | as if it had not been | |
//! | re-attaching process | after its void claim | `K.n` void → looks at `n + 1` | |
//! | both, in any order | | the supervisor's row decides | at most 1 |
//!
//! `Lost` is never run again. The price of at most once is that two rows lose a program that did not run or whose result was
//! good; both need a `SIGKILL` of the supervisor itself. A taken claim is *alive* if a process of that id with that start time
//! is there; it is held by a pidfd from before the check, so an id used again is never mistaken for it.
//!
//! The output is in the raw log before `K.n.exit` is there: whoever sees the result sees all of the log.
//!
//! # Whom a signal reaches
//!
//! The caller signals only the supervisor; the supervisor keeps the program unreaped to the end, so its process group's number
//! cannot belong to a stranger. Processes that leave the group (`setsid`) are adopted by the supervisor, which is a
//! subreaper, and die in [`Supervised::kill`]. What still runs when the program has ended and its output is closed stays, as with
//! GitLab Runner, until [`sweep`] ends it: by the mark in its environment, or by the list the supervisor kept.

mod claim;
mod exit;
mod init;
mod kernel;
mod process_table;
mod spec;
mod supervised;
mod supervisor;
mod sweep;
mod terminal;

pub use claim::ClaimError;
pub use exit::Exit;
pub use init::stand_in_as_init;
pub use process_table::{boot_id, random_word};
pub use spec::{MARK_VARIABLE, Spec};
pub use supervised::{Lost, Reattach, ReattachError, StartError, StopFailed, Supervised};
pub use supervised::{reattach, start, stop_ladder};
pub use supervisor::{SUPERVISE, Step, supervise_main, supervise_watched};
pub use sweep::{Swept, sweep, sweep_marked};
pub use terminal::{OnTerminal, Terminal};
