//! How many workers there should be. Pure: takes counts and a clock, returns what to do; the loop carries it
//! out. Makes no system call and keeps no time of its own.

use shm::Census;

/// Most workers forked in one go.
pub const BATCH_MAX: u32 = 32;
/// Demand that pauses for this long has ended: batches start from one again, surplus workers may retire.
const CALM_US: u64 = 1_000_000;
/// First pause after a failed start; doubles up to the last.
const BACKOFF_MIN_US: u64 = 50_000;
const BACKOFF_MAX_US: u64 = 5_000_000;

/// The settings that bear on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At or below this many spare workers more are forked.
    pub min_spare: u32,
    /// Above this many, some retire.
    pub max_spare: u32,
    /// Workers that may be idle or busy at one time.
    pub max_sessions: u32,
}

/// What the slots say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Forked, not accepting yet. Counts as spare.
    pub starting: u32,
    /// Waiting to accept.
    pub idle: u32,
    /// With a client.
    pub busy: u32,
    /// Slots nobody has.
    pub free: u32,
    /// Told to retire and still idle.
    pub retiring: u32,
}

impl Gauges {
    fn spare(self) -> u32 {
        (self.idle + self.starting).saturating_sub(self.retiring)
    }
}

/// What to do now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decision {
    /// Fork so many workers, then ask again.
    pub spawn: u32,
    /// Tell so many idle workers to go.
    pub retire: u32,
    /// Ask again at this time even if nothing happens.
    pub wake_at_us: Option<u64>,
}

/// What it remembers between decisions.
#[derive(Debug, Clone)]
pub struct Policy {
    limits: Limits,
    batch: u32,
    last_spawn_us: Option<u64>,
    backoff_us: u64,
    not_before_us: Option<u64>,
    failing: bool,
}

impl From<Census> for Gauges {
    fn from(census: Census) -> Self {
        Self {
            starting: census.starting,
            idle: census.idle,
            busy: census.connecting + census.serving,
            free: census.free,
            retiring: census.retiring,
        }
    }
}

impl Policy {
    /// A policy that has seen nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, batch: 1, last_spawn_us: None, backoff_us: BACKOFF_MIN_US, not_before_us: None, failing: false }
    }

    /// Other settings, after a reload.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Workers to fork before the first client.
    pub fn first_workers(&self, wanted: u32, gauges: Gauges) -> u32 {
        wanted.min(self.room(gauges))
    }

    /// A fork failed, or a worker died before it could accept. True when this begins an episode, which is
    /// worth a line in the log; the rest of it is not.
    pub fn start_failed(&mut self, now_us: u64) -> bool {
        self.not_before_us = Some(now_us + self.backoff_us);
        self.backoff_us = (self.backoff_us * 2).min(BACKOFF_MAX_US);
        self.batch = 1;
        !std::mem::replace(&mut self.failing, true)
    }

    /// A worker has come as far as accepting. True when this ends an episode of failures.
    pub fn start_succeeded(&mut self) -> bool {
        self.backoff_us = BACKOFF_MIN_US;
        self.not_before_us = None;
        std::mem::replace(&mut self.failing, false)
    }

    /// Whether starts have been failing.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// What to do about these counts.
    pub fn decide(&mut self, now_us: u64, gauges: Gauges) -> Decision {
        if gauges.spare() <= self.limits.min_spare {
            return self.grow(now_us, gauges);
        }
        let over_room = gauges.busy + gauges.spare() > self.limits.max_sessions;
        // Growing goes one above the minimum at least; that one is no surplus, or the two would chase each other.
        if gauges.spare() > self.limits.max_spare.max(self.limits.min_spare + 1) || over_room {
            return self.shrink(now_us, gauges);
        }
        Decision::default()
    }

    /// Workers more that may exist: each is a session that could come.
    fn room(&self, gauges: Gauges) -> u32 {
        self.limits.max_sessions.saturating_sub(gauges.busy + gauges.spare()).min(gauges.free)
    }

    fn grow(&mut self, now_us: u64, gauges: Gauges) -> Decision {
        let room = self.room(gauges);
        if room == 0 {
            return Decision::default();
        }
        if let Some(not_before) = self.not_before_us.filter(|not_before| *not_before > now_us) {
            return Decision { wake_at_us: Some(not_before), ..Decision::default() };
        }
        // While starts fail, one attempt at a time finds out whether they still do.
        if self.failing {
            self.not_before_us = Some(now_us + self.backoff_us);
            return Decision { spawn: 1, ..Decision::default() };
        }
        let demand_lasts = self.last_spawn_us.is_some_and(|last| now_us.saturating_sub(last) < CALM_US);
        self.batch = if demand_lasts { (self.batch * 2).min(BATCH_MAX) } else { 1 };
        self.last_spawn_us = Some(now_us);
        let ceiling = self.limits.max_spare.saturating_sub(gauges.spare()).max(1);
        Decision { spawn: self.batch.min(ceiling).min(room), ..Decision::default() }
    }

    /// One at a time, and not while demand may come back at once.
    fn shrink(&mut self, now_us: u64, gauges: Gauges) -> Decision {
        if gauges.retiring > 0 || gauges.idle == 0 {
            return Decision::default();
        }
        match self.last_spawn_us.map(|last| last + CALM_US).filter(|calm_at| *calm_at > now_us) {
            Some(calm_at) => Decision { wake_at_us: Some(calm_at), ..Decision::default() },
            None => Decision { retire: 1, ..Decision::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits() -> impl Strategy<Value = Limits> {
        (1..50u32, 0..50u32, 1..300u32).prop_map(|(min_spare, more, max_sessions)| Limits {
            min_spare,
            max_spare: min_spare + more,
            max_sessions,
        })
    }

    /// A pool as the loop would see it: decisions are carried out, workers start, clients come and go.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        Started,
        Claimed,
        Ended,
        Failed,
        Passed(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            4 => Just(Event::Started),
            4 => Just(Event::Claimed),
            3 => Just(Event::Ended),
            1 => Just(Event::Failed),
            1 => (1..2_000_000u64).prop_map(Event::Passed),
        ];
        proptest::collection::vec(event, 0..400)
    }

    struct Pool {
        policy: Policy,
        gauges: Gauges,
        slots: u32,
        now_us: u64,
    }

    impl Pool {
        fn new(limits: Limits) -> Self {
            let slots = limits.max_sessions + 8;
            let gauges = Gauges { free: slots, ..Gauges::default() };
            Self { policy: Policy::new(limits), gauges, slots, now_us: 1 }
        }

        fn count(&mut self) {
            self.gauges.free = self.slots - self.gauges.starting - self.gauges.idle - self.gauges.busy;
        }

        fn happen(&mut self, event: Event) {
            let gauges = &mut self.gauges;
            match event {
                Event::Started if gauges.starting > 0 => {
                    gauges.starting -= 1;
                    gauges.idle += 1;
                    self.policy.start_succeeded();
                }
                Event::Failed if gauges.starting > 0 => {
                    gauges.starting -= 1;
                    self.policy.start_failed(self.now_us);
                }
                Event::Claimed if gauges.idle > gauges.retiring => {
                    gauges.idle -= 1;
                    gauges.busy += 1;
                }
                Event::Ended if gauges.busy > 0 => gauges.busy -= 1,
                Event::Passed(us) => self.now_us += us,
                _ => {}
            }
            self.count();
        }

        /// Carries out decisions until there are none; a retiring worker goes at once.
        fn settle(&mut self) -> Decision {
            for _ in 0..10_000 {
                let decision = self.policy.decide(self.now_us, self.gauges);
                if decision.spawn == 0 && decision.retire == 0 {
                    return decision;
                }
                self.gauges.starting += decision.spawn;
                self.gauges.idle -= decision.retire;
                self.count();
            }
            panic!("decisions never end: {:?}", self.gauges);
        }
    }

    proptest! {
        #[test]
        fn workers_never_outnumber_sessions_and_slots(limits in limits(), events in events()) {
            let mut pool = Pool::new(limits);
            for event in events {
                pool.happen(event);
                let decision = pool.policy.clone().decide(pool.now_us, pool.gauges);
                prop_assert!(decision.spawn <= BATCH_MAX);
                prop_assert!(decision.spawn <= pool.gauges.free);
                prop_assert!(decision.retire <= 1);
                prop_assert!(decision.spawn == 0 || decision.retire == 0);
                pool.settle();
                prop_assert!(pool.gauges.starting + pool.gauges.idle + pool.gauges.busy <= limits.max_sessions);
            }
        }

        #[test]
        fn when_all_is_calm_there_are_enough_spares_and_not_too_many(limits in limits(), events in events()) {
            let mut pool = Pool::new(limits);
            for event in events {
                pool.happen(event);
                pool.settle();
            }
            for _ in 0..2_000 {
                pool.happen(Event::Started);
                let decision = pool.settle();
                pool.now_us = decision.wake_at_us.unwrap_or(pool.now_us + 1);
            }
            let spare = pool.gauges.idle + pool.gauges.starting;
            let room = limits.max_sessions - pool.gauges.busy;
            prop_assert!(spare > limits.min_spare || spare == room, "{:?}", pool.gauges);
            prop_assert!(spare <= limits.max_spare.max(limits.min_spare + 1), "{:?}", pool.gauges);
            prop_assert_eq!(pool.settle(), Decision::default(), "something ticks while nothing happens");
        }

        #[test]
        fn failing_starts_never_become_a_fork_bomb(limits in limits()) {
            let mut pool = Pool::new(limits);
            let (mut attempts, mut episodes) = (0, 0);
            while pool.now_us < 60_000_000 {
                let decision = pool.policy.decide(pool.now_us, pool.gauges);
                attempts += decision.spawn;
                for _ in 0..decision.spawn {
                    episodes += u32::from(pool.policy.start_failed(pool.now_us));
                }
                pool.now_us = decision.wake_at_us.unwrap_or(pool.now_us + 1);
            }
            prop_assert!(attempts <= 24, "{attempts} attempts in a minute");
            prop_assert_eq!(episodes, 1);
        }
    }

    #[test]
    fn equal_bounds_do_not_make_workers_come_and_go() {
        let mut pool = Pool::new(Limits { min_spare: 6, max_spare: 6, max_sessions: 12 });
        pool.settle();
        (0..20).for_each(|_| pool.happen(Event::Started));
        assert_eq!(pool.settle(), Decision::default());
    }

    #[test]
    fn batches_double_while_demand_lasts() {
        let limits = Limits { min_spare: 100, max_spare: 1000, max_sessions: 1000 };
        let mut policy = Policy::new(limits);
        let gauges = Gauges { free: 1000, ..Gauges::default() };
        let batches: Vec<u32> = (0..8).map(|i| policy.decide(1 + i, gauges).spawn).collect();
        assert_eq!(batches, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(policy.decide(5_000_000, gauges).spawn, 1);
    }

    #[test]
    fn a_burst_of_all_sessions_on_a_small_pool_gets_its_workers() {
        let limits = Limits { min_spare: 2, max_spare: 4, max_sessions: 100 };
        let mut pool = Pool::new(limits);
        pool.settle();
        while pool.gauges.busy < 100 {
            pool.happen(Event::Started);
            pool.happen(Event::Claimed);
            pool.settle();
        }
        assert_eq!(pool.gauges.idle + pool.gauges.starting, 0);
    }
}
