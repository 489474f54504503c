//! The rules of §7 one by one, then the machine against a fake server that answers anything, by seed.

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;

fn patch(patched: Patched) -> PatchAnswer {
    PatchAnswer { patched, cancel_requested: false, interval: None }
}

fn update(updated: Updated) -> UpdateAnswer {
    UpdateAnswer { updated, cancel_requested: false, interval: None }
}

fn down() -> Updated {
    Updated::Failed { why: "down".into(), unreachable: true }
}

fn refused() -> Updated {
    Updated::Failed { why: "400".into(), unreachable: false }
}

#[test]
fn a_silent_job_touches_at_the_first_tick_and_then_after_thirty_seconds() {
    let mut m = ReporterMachine::new(S(0), 0, 10);
    assert_eq!(m.step(S(0)), Step::Wait(S(3)));
    assert_eq!(m.step(S(3)), Step::Touch);
    m.updated(S(3), &update(Updated::Accepted));
    let mut touches = Vec::new();
    for t in 4..100 {
        if m.step(S(t)) == Step::Touch {
            touches.push(t);
            m.updated(S(t), &update(Updated::Accepted));
        }
    }
    // 3 s ticks; more than 30 s after the last one.
    assert_eq!(touches, [36, 69]);
}

#[test]
fn one_chunk_a_tick_and_no_touch_while_bytes_go_through() {
    let mut m = ReporterMachine::new(S(0), 0, 10);
    m.grown(CHUNK * 2 + 5);
    assert_eq!(m.step(S(3)), Step::Patch { start: 0, len: CHUNK });
    m.patched(S(3), &patch(Patched::Appended));
    assert_eq!(m.step(S(3)), Step::Wait(S(6)));
    assert_eq!(m.step(S(6)), Step::Patch { start: CHUNK, len: CHUNK });
    m.patched(S(6), &PatchAnswer { interval: Some(S(3600)), ..patch(Patched::Appended) });
    assert_eq!(m.step(S(6)), Step::Wait(S(6 + 900)), "the interval is capped");
    // The job ends: no more waiting.
    m.finish(S(7), CHUNK * 2 + 5);
    assert_eq!(m.step(S(7)), Step::Patch { start: CHUNK * 2, len: 5 });
    m.patched(S(7), &patch(Patched::Appended));
    assert_eq!(m.step(S(7)), Step::Final);
    m.updated(S(7), &update(Updated::Accepted));
    assert_eq!((m.step(S(7)), m.outcome()), (Step::Done, Some(&Reported::Acknowledged)));
}

#[test]
fn a_failed_chunk_and_a_404_are_tried_again_at_the_next_tick() {
    let failed = Patched::Failed { why: "x".into(), unreachable: true };
    for answer in [failed, Patched::NotFound, Patched::Resync(4)] {
        let mut m = ReporterMachine::new(S(0), 0, 10);
        m.grown(9);
        assert_eq!(m.step(S(3)), Step::Patch { start: 0, len: 9 });
        m.patched(S(3), &patch(answer.clone()));
        assert_eq!(m.step(S(3)), Step::Wait(S(6)));
        let start = if matches!(answer, Patched::Resync(_)) { 4 } else { 0 };
        assert_eq!(m.step(S(6)), Step::Patch { start, len: 9 - start });
    }
}

#[test]
fn a_cancel_is_told_once_and_not_after_the_end() {
    let canceling = UpdateAnswer { cancel_requested: true, ..update(Updated::Accepted) };
    let mut m = ReporterMachine::new(S(0), 0, 10);
    assert_eq!(m.step(S(3)), Step::Touch);
    assert_eq!(m.updated(S(3), &canceling), Some(Signal::Cancel));
    m.grown(1);
    assert!(matches!(m.step(S(6)), Step::Patch { .. }));
    assert_eq!(m.patched(S(6), &PatchAnswer { cancel_requested: true, ..patch(Patched::Appended) }), None);
    assert_eq!(m.acknowledged(), 1, "the chunk still counts");

    let mut m = ReporterMachine::new(S(0), 0, 10);
    m.finish(S(1), 0);
    assert_eq!(m.step(S(1)), Step::Final);
    assert_eq!(m.updated(S(1), &canceling), None);
}

#[test]
fn an_abort_ends_everything() {
    let mut m = ReporterMachine::new(S(0), 0, 10);
    m.grown(1);
    m.step(S(3));
    assert_eq!(m.patched(S(3), &patch(Patched::Abort("gone".into()))), Some(Signal::Abort("gone".into())));
    m.finish(S(4), 1);
    assert_eq!(m.step(S(4)), Step::Done);
    assert_eq!(m.outcome(), Some(&Reported::Dropped { why: "gone".into(), after_final: false }));
}

#[test]
fn pending_and_invalid_are_repeated_without_counting() {
    let mut m = ReporterMachine::new(S(0), 0, 1);
    m.finish(S(0), 5);
    m.step(S(0));
    m.patched(S(0), &patch(Patched::Appended));
    let mut now = S(0);
    for _ in 0..50 {
        assert_eq!(m.step(now), Step::Final);
        m.updated(now, &UpdateAnswer { interval: Some(S(64)), ..update(Updated::Pending) });
        assert_eq!(m.step(now), Step::Wait(now + S(64)));
        now += S(64);
    }
    assert_eq!(m.step(now), Step::Final);
    m.updated(now, &update(Updated::TraceInvalid));
    now += S(64);
    assert_eq!(m.step(now), Step::Patch { start: 0, len: 5 });
    assert_eq!(m.failures(), 0);
}

#[test]
fn a_log_the_server_does_not_know_is_not_flushed_but_the_state_is_sent() {
    let mut m = ReporterMachine::new(S(0), 0, 3);
    m.finish(S(0), 5);
    assert!(matches!(m.step(S(0)), Step::Patch { .. }));
    m.patched(S(0), &patch(Patched::NotFound));
    assert_eq!(m.step(S(0)), Step::Final);
    m.updated(S(0), &update(down()));
    assert!(matches!(m.step(S(1)), Step::Patch { .. }), "the whole block again");
}

#[test]
fn a_server_that_is_down_for_days_gets_its_result_all_the_same() {
    let mut m = ReporterMachine::new(S(0), 0, 10);
    m.finish(S(0), 0);
    let mut now = S(0);
    let mut waits = Vec::new();
    while now < S(3 * 24 * 3600) {
        assert_eq!(m.step(now), Step::Final);
        m.updated(now, &update(down()));
        let Step::Wait(until) = m.step(now) else { panic!("it gave up after {now:?}") };
        waits.push((until - now).as_secs());
        now = until;
    }
    assert_eq!(waits[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(m.step(now), Step::Final);
    m.updated(now, &update(Updated::Accepted));
    assert_eq!(m.outcome(), Some(&Reported::Acknowledged));
}

#[test]
fn a_server_that_refuses_ends_it_after_the_limit() {
    let mut m = ReporterMachine::new(S(0), 0, 4);
    m.finish(S(0), 0);
    let mut now = S(0);
    let mut tries = 0;
    loop {
        match m.step(now) {
            Step::Final => {
                tries += 1;
                m.updated(now, &update(refused()));
            }
            Step::Wait(until) => now = until,
            Step::Done => break,
            step => panic!("{step:?}"),
        }
    }
    assert_eq!((tries, m.outcome()), (4, Some(&Reported::GaveUp("400".into()))));
}

#[test]
fn a_server_that_never_finds_the_place_is_an_error_not_a_loop() {
    let mut m = ReporterMachine::new(S(0), 0, 2);
    m.finish(S(0), 10);
    let mut now = S(0);
    let mut asked = 0;
    loop {
        match m.step(now) {
            Step::Patch { .. } => {
                asked += 1;
                m.patched(now, &patch(Patched::Resync(0)));
            }
            Step::Wait(until) => now = until,
            Step::Done => break,
            step => panic!("{step:?}"),
        }
    }
    assert_eq!(asked, 20);
    assert!(matches!(m.outcome(), Some(Reported::GaveUp(_))));
}

#[test]
fn a_chunk_whose_answer_was_lost_costs_no_wait() {
    let mut m = ReporterMachine::new(S(0), 0, 10);
    m.finish(S(0), CHUNK + 10);
    m.step(S(0));
    m.patched(S(0), &patch(Patched::Failed { why: "lost".into(), unreachable: true }));
    assert_eq!(m.step(S(1)), Step::Patch { start: 0, len: CHUNK });
    m.patched(S(1), &patch(Patched::Resync(CHUNK)));
    assert_eq!(m.step(S(1)), Step::Patch { start: CHUNK, len: 10 });
    m.patched(S(1), &patch(Patched::Resync(0)));
    assert_eq!(m.step(S(1)), Step::Wait(S(4)), "going back is not progress");
}

#[test]
fn a_lost_acknowledgement_looks_like_one() {
    let mut m = ReporterMachine::new(S(0), 0, 10);
    m.finish(S(0), 0);
    m.step(S(0));
    m.updated(S(0), &update(down()));
    assert_eq!(m.step(S(1)), Step::Final);
    m.updated(S(1), &update(Updated::Abort("403".into())));
    assert_eq!(m.outcome(), Some(&Reported::Dropped { why: "403".into(), after_final: true }));
}

/// Small and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A server that keeps the rules of §5 and §6 but loses requests and answers, forgets part of its log, is
/// down for a while, asks for other intervals, and says 202 or 412 before it takes the result.
#[derive(Default)]
struct Server {
    log: Vec<u8>,
    finals: u32,
    invalid: u32,
    faults: u32,
}

impl Server {
    fn patch(&mut self, dice: &mut Dice, start: u64, bytes: &[u8]) -> PatchAnswer {
        let interval = (dice.below(4) == 0).then(|| S(dice.below(70)));
        let lost = PatchAnswer {
            interval: None,
            ..patch(Patched::Failed { why: "lost".into(), unreachable: dice.below(2) == 0 })
        };
        let roll = dice.below(10);
        if roll == 0 {
            self.faults += 1;
            return lost;
        }
        if roll == 1 && !self.log.is_empty() {
            self.faults += 1;
            self.log.truncate(dice.below(self.log.len() as u64) as usize);
        }
        let patched = if start == self.log.len() as u64 {
            self.log.extend_from_slice(bytes);
            Patched::Appended
        } else {
            Patched::Resync(self.log.len() as u64)
        };
        if roll == 2 {
            self.faults += 1;
            return lost;
        }
        PatchAnswer { interval, ..patch(patched) }
    }

    fn finish(&mut self, dice: &mut Dice, whole: &[u8]) -> UpdateAnswer {
        let interval = Some(S(1 + dice.below(3)));
        match dice.below(8) {
            0 => {
                self.faults += 1;
                return update(down());
            }
            1 => return UpdateAnswer { interval, ..update(Updated::Pending) },
            2 if self.invalid < 3 => {
                self.invalid += 1;
                self.log.clear();
                return update(Updated::TraceInvalid);
            }
            _ => {}
        }
        if self.log != whole {
            self.log.clear();
            return update(Updated::TraceInvalid);
        }
        self.finals += 1;
        update(Updated::Accepted)
    }
}

#[test]
fn any_mix_of_answers_ends_with_the_whole_log_and_one_acknowledged_result() {
    let mut faults = 0;
    for seed in 1..=3_000_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut server = Server::default();
        // Refusals are counted here too, so the limit must be out of the way.
        let mut m = ReporterMachine::new(S(0), 0, u32::MAX);
        let big = dice.below(200) == 0;
        let total = if big { CHUNK as usize * 3 + 77 } else { dice.below(5_000) as usize };
        let whole: Vec<u8> = (0..total).map(|i| (i as u64 * 31 + seed) as u8).collect();
        let ends = S(dice.below(400));
        let mut now = S(0);
        let mut finished = false;
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 20_000, "seed {seed}: it never ends");
            let written = if now >= ends {
                total as u64
            } else {
                total as u64 * now.as_millis() as u64 / ends.as_millis().max(1) as u64
            };
            if now >= ends && !finished {
                finished = true;
                m.finish(now, total as u64);
            } else if !finished {
                m.grown(written);
            }
            match m.step(now) {
                Step::Patch { start, len } => {
                    assert!(len > 0 && len <= CHUNK && start + len <= written, "seed {seed}");
                    let bytes = &whole[start as usize..(start + len) as usize];
                    now += Duration::from_millis(dice.below(200));
                    let answer = server.patch(&mut dice, start, bytes);
                    assert_eq!(m.patched(now, &answer), None, "seed {seed}");
                    assert!(whole.starts_with(&server.log), "seed {seed}: the server's log is not ours");
                }
                Step::Touch => {
                    assert!(!finished, "seed {seed}: touched after the end");
                    let up = dice.below(5) > 0;
                    m.updated(now, &update(if up { Updated::Accepted } else { down() }));
                }
                Step::Final => {
                    assert!(finished, "seed {seed}: final state before the end");
                    let answer = server.finish(&mut dice, &whole);
                    m.updated(now, &answer);
                }
                Step::Wait(until) => {
                    assert!(until > now, "seed {seed}: it spins");
                    now = if finished { until } else { until.min(ends.max(now)) };
                }
                Step::Done => break,
            }
        }
        assert_eq!(m.outcome(), Some(&Reported::Acknowledged), "seed {seed}");
        assert_eq!(server.finals, 1, "seed {seed}");
        assert_eq!(server.log, whole, "seed {seed}");
        faults += server.faults;
    }
    assert!(faults > 1_000, "the faults fired: {faults}");
}
