//! Places change hands exactly, in order, within the limit, and whoever dies at any step loses only what it held.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::step::{dies_at, without_dying};
use crate::{Geometry, SlotKind};

/// What the lockers hold: a connection's number each.
type Lockers = Arc<Vec<Mutex<Option<u32>>>>;

struct Setting {
    segment: Segment,
    pool: UpstreamPoolIndex,
    owners: Vec<Owner>,
    lockers: Lockers,
    made: Arc<AtomicU32>,
}

fn setting(slots: u32, limit: u32) -> Setting {
    let segment = Segment::on_heap(&Geometry { slots, databases: 1, wal_index_bytes: 32768 }).unwrap();
    let owners = (0..slots).map(|_| segment.claim_slot(SlotKind::Worker).unwrap()).collect();
    let pool = segment.open_upstream_pool(7, "shop ann", limit).unwrap();
    let lockers = Arc::new((0..UPSTREAM_PLACES).map(|_| Mutex::new(None)).collect());
    Setting { segment, pool, owners, lockers, made: Arc::default() }
}

impl Setting {
    fn lease(&self, me: Owner) -> UpstreamPlaceIndex {
        self.segment.lease_upstream(me, self.pool, UPSTREAM_PLACES, None, None, &mut || false).unwrap()
    }

    fn locker(&self, place: UpstreamPlaceIndex) -> std::sync::MutexGuard<'_, Option<u32>> {
        self.lockers[place.0 as usize].lock().unwrap()
    }

    /// Takes the connection out of the locker, or makes one.
    fn open(&self, place: UpstreamPlaceIndex) -> u32 {
        let taken = self.locker(place).take();
        step();
        taken.unwrap_or_else(|| self.made.fetch_add(1, SeqCst))
    }

    /// Puts it back and lets the place go.
    fn close(&self, me: Owner, place: UpstreamPlaceIndex, connection: u32) {
        assert!(self.locker(place).replace(connection).is_none(), "two had the same locker");
        step();
        self.segment.give_upstream(me, place);
    }

    /// What the postmaster does after a death.
    fn bury(&self, dead: Owner) {
        for place in self.segment.reap(dead).upstream_places {
            let has_connection = self.locker(place).is_some();
            self.segment.settle_upstream(dead, place, has_connection);
        }
    }

    fn facts(&self) -> UpstreamPoolFacts {
        self.segment.upstream_pools().remove(0).1
    }
}

#[test]
fn the_connection_used_last_is_lent_first_and_the_limit_holds() {
    let setting = setting(4, 2);
    let [a, b, c, _] = setting.owners[..] else { unreachable!() };
    let (first, second) = (setting.lease(a), setting.lease(b));
    assert_ne!(first, second);
    let soon = Instant::now() + Duration::from_millis(2);
    assert_eq!(
        setting.segment.lease_upstream(c, setting.pool, UPSTREAM_PLACES, None, Some(soon), &mut || false),
        Err(LockError::TimedOut)
    );
    assert_eq!(
        setting.segment.lease_upstream(c, setting.pool, UPSTREAM_PLACES, None, None, &mut || true),
        Err(LockError::Interrupted)
    );
    setting.close(a, first, 1);
    std::thread::sleep(Duration::from_millis(1));
    setting.close(b, second, 2);
    assert_eq!(setting.lease(c), second);
    let facts = setting.facts();
    assert_eq!((facts.name.as_str(), facts.lent, facts.idle, facts.waiting, facts.limit), ("shop ann", 1, 1, 0, 2));
    setting.segment.discard_upstream(c, second);
    assert_eq!((setting.facts().lent, setting.facts().idle), (0, 1));
}

#[test]
fn who_waits_longest_is_served_first() {
    let setting = Arc::new(setting(6, 1));
    let place = setting.lease(setting.owners[0]);
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut threads = Vec::new();
    for number in 1..6 {
        let (copy, order) = (Arc::clone(&setting), Arc::clone(&served));
        threads.push(std::thread::spawn(move || {
            let me = copy.owners[number];
            let place = copy.lease(me);
            let connection = copy.open(place);
            order.lock().unwrap().push(number);
            copy.close(me, place, connection);
        }));
        while setting.facts().waiting < number as u32 {
            std::thread::yield_now();
        }
    }
    setting.close(setting.owners[0], place, 0);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*served.lock().unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!((setting.facts().idle, setting.facts().lent), (1, 0));
}

#[test]
fn many_who_lend_wait_and_give_up_lose_nothing() {
    let setting = Arc::new(setting(8, 3));
    let in_use: Arc<Vec<AtomicBool>> = Arc::new((0..10_000).map(|_| AtomicBool::new(false)).collect());
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (setting, in_use) = (Arc::clone(&setting), Arc::clone(&in_use));
            std::thread::spawn(move || {
                let me = setting.owners[number];
                for round in 0..3000 {
                    let deadline = (round % 7 == number).then(|| Instant::now() + Duration::from_micros(20));
                    let Ok(place) =
                        setting
                            .segment
                            .lease_upstream(me, setting.pool, UPSTREAM_PLACES, None, deadline, &mut || false)
                    else {
                        continue;
                    };
                    let connection = setting.open(place);
                    assert!(!in_use[connection as usize].swap(true, SeqCst), "one connection, two users");
                    std::hint::spin_loop();
                    in_use[connection as usize].store(false, SeqCst);
                    if round % 31 == 0 {
                        setting.segment.discard_upstream(me, place);
                    } else {
                        setting.close(me, place, connection);
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let facts = setting.facts();
    assert_eq!((facts.lent, facts.waiting), (0, 0));
    assert!(facts.idle <= 3, "{facts:?}");
    let filled = (0..UPSTREAM_PLACES).filter(|place| setting.locker(UpstreamPlaceIndex(*place)).is_some());
    // A locker of a place that was discarded is empty; all others hold theirs.
    assert_eq!(u32::try_from(filled.count()).unwrap(), facts.idle);
}

/// Runs `act` once for every step at which it can die, and checks after each death that the others get all places.
fn at_every_step(limit: u32, act: impl Fn(&Setting, Owner)) {
    for steps in 0..1000 {
        let setting = setting(4, limit);
        let dead = setting.owners[0];
        let died = dies_at(steps, || act(&setting, dead));
        // Somebody may wait already when the death is noticed.
        setting.bury(dead);
        setting.segment.revoke_upstream(Some(1), UpstreamOrder::Paused);
        for place in setting.segment.places().map(|(index, _)| index) {
            assert_ne!(setting.place_owner(place), Some(dead), "step {steps}");
        }
        // The living hold what they had; all the rest can be had.
        let held = setting.facts().lent;
        let soon = || Some(Instant::now() + Duration::from_millis(50));
        let [.., free] = setting.owners[..] else { unreachable!() };
        for _ in held..limit {
            let place =
                setting.segment.lease_upstream(free, setting.pool, UPSTREAM_PLACES, None, soon(), &mut || false);
            setting.open(place.unwrap_or_else(|error| panic!("step {steps}: {error}")));
        }
        assert_eq!((setting.facts().lent, setting.facts().idle), (limit, 0), "step {steps}");
        if !died {
            return;
        }
    }
    panic!("the protocol has no end");
}

impl Setting {
    fn place_owner(&self, place: UpstreamPlaceIndex) -> Option<Owner> {
        Owner::unpack(self.segment.upstream_place(place.0).owner.load(SeqCst))
    }
}

#[test]
fn a_borrower_killed_at_any_step_costs_at_most_its_own_connection() {
    at_every_step(2, |setting, me| {
        for _ in 0..2 {
            let place = setting.lease(me);
            let connection = setting.open(place);
            setting.close(me, place, connection);
        }
        let place = setting.lease(me);
        setting.open(place);
        setting.segment.discard_upstream(me, place);
    });
}

#[test]
fn a_waiter_killed_at_any_step_leaves_the_queue() {
    at_every_step(1, |setting, me| {
        let holder = setting.owners[1];
        if setting.place_owner(UpstreamPlaceIndex(0)) != Some(holder) {
            // The one who has it lives on, and has done so in one step as far as this test goes.
            without_dying(|| setting.lease(holder));
        }
        let soon = Instant::now() + Duration::from_millis(1);
        let _ = setting.segment.lease_upstream(me, setting.pool, UPSTREAM_PLACES, None, Some(soon), &mut || false);
    });
}

#[test]
fn a_waiter_that_is_served_and_killed_at_any_step_costs_at_most_its_own_connection() {
    at_every_step(1, |setting, me| {
        let holder = setting.owners[1];
        let place = without_dying(|| setting.lease(holder));
        let mut is_asked = false;
        // Given back while it waits: it is asked before it sleeps.
        let leased = setting.segment.lease_upstream(me, setting.pool, UPSTREAM_PLACES, None, None, &mut || {
            if !std::mem::replace(&mut is_asked, true) {
                without_dying(|| setting.close(holder, place, 1));
            }
            false
        });
        let place = leased.unwrap();
        let connection = setting.open(place);
        setting.close(me, place, connection);
    });
}

#[test]
fn a_giver_killed_at_any_step_does_not_keep_the_next_in_line_waiting() {
    for steps in 0..1000 {
        let setting = Arc::new(setting(4, 1));
        let (giver, waiter) = (setting.owners[0], setting.owners[1]);
        let place = setting.lease(giver);
        let connection = setting.open(place);
        let copy = Arc::clone(&setting);
        let thread = std::thread::spawn(move || {
            let place = copy.lease(waiter);
            let connection = copy.open(place);
            copy.close(waiter, place, connection);
        });
        while setting.facts().waiting == 0 {
            std::thread::yield_now();
        }
        let died = dies_at(steps, || setting.close(giver, place, connection));
        setting.bury(giver);
        thread.join().unwrap();
        assert_eq!((setting.facts().lent, setting.facts().idle), (0, 1), "step {steps}");
        if !died {
            return;
        }
    }
    panic!("the protocol has no end");
}

#[test]
fn pools_keep_apart_and_share_the_places() {
    let setting = setting(2, 1);
    let other = setting.segment.open_upstream_pool(8, "shop bob", 1).unwrap();
    assert_eq!(setting.segment.open_upstream_pool(7, "shop ann", 1), Some(setting.pool));
    let me = setting.owners[0];
    let place = setting.lease(me);
    setting.close(me, place, 1);
    let second = setting.segment.lease_upstream(me, other, UPSTREAM_PLACES, None, None, &mut || false).unwrap();
    assert_ne!(place, second);
    setting.segment.discard_upstream(me, second);
    let names: Vec<_> = setting.segment.upstream_pools().into_iter().map(|(_, facts)| facts.name).collect();
    assert_eq!(names, ["shop ann", "shop bob"]);
}

#[test]
fn a_pool_takes_over_a_place_that_another_has_no_use_for_and_waits_for_one_where_there_is_none() {
    let setting = Arc::new(setting(4, 2));
    let [a, b, c, _] = setting.owners[..] else { unreachable!() };
    let other = setting.segment.open_upstream_pool(8, "shop bob", 2).unwrap();
    // There are two places in all, and the first pool has both.
    let lease = |me, pool| {
        let soon = Instant::now() + Duration::from_secs(20);
        setting.segment.lease_upstream(me, pool, 2, None, Some(soon), &mut || false)
    };
    let (first, second) = (lease(a, setting.pool).unwrap(), lease(b, setting.pool).unwrap());
    let copy = Arc::clone(&setting);
    let waiter = std::thread::spawn(move || {
        let later = Instant::now() + Duration::from_secs(20);
        copy.segment.lease_upstream(c, other, 2, None, Some(later), &mut || false)
    });
    while setting.segment.upstream_pools()[1].1.waiting == 0 {
        std::thread::yield_now();
    }
    setting.close(a, first, 1);
    assert_eq!(waiter.join().unwrap(), Ok(first));
    // What is in the locker is the first pool's; the second closes it.
    assert_eq!(setting.open(first), 1);
    let pools = setting.segment.upstream_pools();
    assert_eq!((pools[0].1.lent, pools[1].1.lent), (1, 1));
    setting.close(c, first, 2);
    setting.close(b, second, 3);
    assert_eq!((setting.facts().idle, setting.segment.upstream_pools()[1].1.idle), (1, 1));
}

#[test]
fn only_what_nobody_uses_is_taken_to_be_closed() {
    let setting = setting(2, 2);
    let [me, other] = [setting.owners[0], setting.owners[1]];
    let place = setting.lease(other);
    let connection = setting.open(place);
    let all = || (0..UPSTREAM_PLACES).map(UpstreamPlaceIndex).filter(|at| setting.segment.take_idle_upstream(me, *at));
    assert_eq!(all().count(), 0, "it is used");
    setting.close(other, place, connection);
    assert_eq!(all().collect::<Vec<_>>(), [place]);
    assert_eq!(all().count(), 0, "it is being closed");
    setting.locker(place).take();
    setting.segment.discard_upstream(me, place);
    assert_eq!(all().count(), 0, "it is closed");
    assert_eq!(setting.open(setting.lease(other)), connection + 1, "the next one is new");
}

#[test]
fn a_grant_of_a_place_that_somebody_else_has_is_none() {
    let setting = setting(2, 1);
    let [waiting, other] = [setting.owners[0], setting.owners[1]];
    let place = setting.lease(other);
    let word = setting.segment.upstream_waiter(waiting.slot);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| setting.lease(waiting));
        let began = Instant::now();
        let mut granted_at = None;
        loop {
            let seen = word.load(SeqCst);
            match (seen & KIND, granted_at) {
                // As the reaper does when it saw `waiting` own the place, before that gave it to `other`.
                (WAITING, None) => {
                    granted_at = word.compare_exchange(seen, GRANTED | u64::from(place.0), SeqCst, SeqCst).ok();
                    setting.segment.slot(waiting.slot).latch().set();
                }
                (WAITING, Some(before)) => {
                    assert_eq!(seen, before, "it waits on, with the same ticket");
                    break;
                }
                (_, Some(_)) if seen == 0 => panic!("two have the same place"),
                _ => assert!(began.elapsed() < Duration::from_secs(60), "it never waited"),
            }
            std::thread::yield_now();
        }
        setting.segment.give_upstream(other, place);
        assert_eq!(waiter.join().unwrap(), place);
    });
}

#[test]
fn a_process_gets_the_place_back_that_it_used_last_if_it_is_free() {
    let setting = setting(4, 4);
    let [a, b, ..] = setting.owners[..] else { unreachable!() };
    let lease = |me, before| {
        setting.segment.lease_upstream(me, setting.pool, UPSTREAM_PLACES, before, None, &mut || false).unwrap()
    };
    let (first, second) = (lease(a, None), lease(b, None));
    setting.segment.give_upstream(a, first);
    setting.segment.give_upstream(b, second);
    // The one used last is the other's.
    assert_eq!(lease(a, Some(first)), first);
    assert_eq!(lease(b, Some(first)), second, "it is lent");
    setting.segment.give_upstream(a, first);
    setting.segment.discard_upstream(b, second);
    assert_eq!(lease(b, Some(second)), first, "it has no connection any more");
}

/// A pool of that database and user; at most `most` places of the database and `of_user` of the user.
fn limited(setting: &Setting, key: u64, database: u64, user: u64, [most, of_user]: [u32; 2]) -> UpstreamPoolIndex {
    let pool = setting.segment.open_upstream_pool(key, "limited", 4).unwrap();
    let limits = UpstreamLimits { database, user, database_limit: most, user_limit: of_user, ..Default::default() };
    setting.segment.limit_upstream_pool(pool, &limits);
    pool
}

#[test]
fn pools_of_one_database_or_user_share_their_limit() {
    let setting = setting(6, 2);
    let lease = |me, pool| {
        let soon = Instant::now() + Duration::from_millis(2);
        setting.segment.lease_upstream(me, pool, UPSTREAM_PLACES, None, Some(soon), &mut || false)
    };
    let [a, b, c, d, ..] = setting.owners[..] else { unreachable!() };
    let (ann, bob) = (limited(&setting, 20, 1, 1, [2, 2]), limited(&setting, 21, 1, 2, [2, 2]));
    let elsewhere = limited(&setting, 22, 2, 1, [0, 2]);
    let first = lease(a, ann).unwrap();
    lease(b, bob).unwrap();
    assert_eq!(lease(c, ann), Err(LockError::TimedOut), "the database has its two");
    let third = lease(c, elsewhere).unwrap();
    assert_eq!(lease(d, elsewhere), Err(LockError::TimedOut), "the user has its two");
    setting.segment.give_upstream(a, first);
    // The idle one of the same database makes room, and becomes this pool's.
    assert_eq!(lease(d, bob), Ok(first));
    assert_eq!(lease(a, ann), Err(LockError::TimedOut));
    setting.segment.discard_upstream(c, third);
    setting.segment.discard_upstream(d, first);
    assert!(lease(a, ann).is_ok());
}

#[test]
fn a_shared_limit_holds_among_many_threads_and_wakes_the_other_pool() {
    let setting = setting(8, 2);
    let pools = [limited(&setting, 20, 1, 1, [2, 0]), limited(&setting, 21, 1, 2, [2, 0])];
    let lent = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for (number, me) in setting.owners.iter().copied().enumerate() {
            let (segment, lent) = (setting.segment, &lent);
            scope.spawn(move || {
                for turn in 0..200 {
                    let pool = pools[(number + turn) % 2];
                    let place = segment.lease_upstream(me, pool, UPSTREAM_PLACES, None, None, &mut || false).unwrap();
                    assert!(lent.fetch_add(1, SeqCst) < 2, "the limit was passed");
                    // Others have their chance to pass it.
                    (0..3).for_each(|_| std::thread::yield_now());
                    lent.fetch_sub(1, SeqCst);
                    if turn % 3 == 0 {
                        segment.discard_upstream(me, place);
                    } else {
                        segment.give_upstream(me, place);
                    }
                }
            });
        }
    });
    assert!(setting.segment.upstream_places().len() <= 2);
}

#[test]
fn who_has_waited_long_takes_from_the_reserve() {
    let setting = setting(3, 1);
    let [a, b, c] = setting.owners[..] else { unreachable!() };
    let limits = UpstreamLimits { reserve: 1, reserve_after_ms: 1, ..Default::default() };
    setting.segment.limit_upstream_pool(setting.pool, &limits);
    let first = setting.lease(a);
    assert_ne!(setting.lease(b), first);
    let soon = Instant::now() + Duration::from_millis(5);
    assert_eq!(
        setting.segment.lease_upstream(c, setting.pool, UPSTREAM_PLACES, None, Some(soon), &mut || false),
        Err(LockError::TimedOut)
    );
}

#[test]
fn connections_that_nobody_has_used_for_long_are_closed() {
    let setting = setting(2, 2);
    let [a, b] = setting.owners[..] else { unreachable!() };
    let (first, second) = (setting.lease(a), setting.lease(b));
    setting.segment.give_upstream(a, first);
    let returned = setting.segment.upstream_returned_us(first);
    let mut closed = Vec::new();
    let next = setting.segment.close_idle_upstream(100, returned + 40, |index| closed.push(index));
    assert_eq!((next, closed.len()), (60, 0));
    setting.segment.close_idle_upstream(100, returned + 100, |index| closed.push(index));
    assert_eq!(closed, [first]);
    // The lent one stays.
    assert_eq!(setting.facts().lent, 1);
    setting.segment.give_upstream(b, second);
}

#[test]
fn nothing_of_a_paused_database_is_lent_until_it_is_resumed() {
    let setting = setting(3, 2);
    let [a, b, _] = setting.owners[..] else { unreachable!() };
    let pool = limited(&setting, 20, 1, 1, [0, 0]);
    let lease = |me| {
        let soon = Instant::now() + Duration::from_millis(2);
        setting.segment.lease_upstream(me, pool, UPSTREAM_PLACES, None, Some(soon), &mut || false)
    };
    let first = lease(a).unwrap();
    for database in [Some(1), None] {
        assert_eq!(setting.segment.order_upstream(database, UpstreamOrder::Paused), Some(false));
        assert_eq!(lease(b), Err(LockError::TimedOut));
        assert!(setting.segment.revoke_upstream(database, UpstreamOrder::Paused));
        assert!(!setting.segment.revoke_upstream(database, UpstreamOrder::Paused));
    }
    // A pool of no database is not paused.
    setting.segment.order_upstream(None, UpstreamOrder::Paused);
    setting.lease(b);
    setting.segment.give_upstream(a, first);
    assert_eq!(lease(a), Err(LockError::TimedOut));
    assert_eq!(setting.segment.upstream_places_of(None), [first]);
    assert_eq!(setting.segment.upstream_places_of(Some(2)), []);
    setting.segment.revoke_upstream(None, UpstreamOrder::Paused);
    assert_eq!(lease(a), Ok(first));
}

#[test]
fn a_pause_ends_all_use_and_everybody_goes_on_afterwards() {
    let setting = setting(7, 2);
    let pool = limited(&setting, 20, 1, 1, [0, 0]);
    let turns = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for me in setting.owners.iter().copied() {
            let (segment, turns) = (setting.segment, &turns);
            scope.spawn(move || {
                while turns.load(SeqCst) < 2000 {
                    let place = segment.lease_upstream(me, pool, UPSTREAM_PLACES, None, None, &mut || false).unwrap();
                    turns.fetch_add(1, SeqCst);
                    if turns.load(SeqCst).is_multiple_of(5) {
                        segment.discard_upstream(me, place);
                    } else {
                        segment.give_upstream(me, place);
                    }
                }
            });
        }
        while turns.load(SeqCst) < 2000 {
            setting.segment.order_upstream(Some(1), UpstreamOrder::Paused);
            let lent = || setting.segment.upstream_places().iter().any(|place| place.owner.is_some());
            while lent() {
                std::thread::yield_now();
            }
            let before = turns.load(SeqCst);
            (0..50).for_each(|_| std::thread::yield_now());
            assert_eq!(turns.load(SeqCst), before, "lent while paused");
            setting.segment.revoke_upstream(Some(1), UpstreamOrder::Paused);
            std::thread::yield_now();
        }
    });
}

#[test]
fn who_is_killed_while_a_shared_limit_is_full_costs_nobody_anything() {
    at_every_step(2, |setting, me| {
        let limits = UpstreamLimits { database: 1, database_limit: 2, ..Default::default() };
        setting.segment.limit_upstream_pool(setting.pool, &limits);
        let other = limited(setting, 20, 1, 2, [2, 0]);
        // Two of another pool are idle: one makes room.
        let [_, b, c, _] = setting.owners[..] else { unreachable!() };
        let lease = |me| setting.segment.lease_upstream(me, other, UPSTREAM_PLACES, None, None, &mut || false).unwrap();
        let places = without_dying(|| [lease(b), lease(c)]);
        without_dying(|| {
            setting.close(b, places[0], 1);
            setting.close(c, places[1], 2);
        });
        let place = setting.lease(me);
        *setting.locker(place) = None;
        step();
        setting.segment.discard_upstream(me, place);
    });
}

#[test]
fn who_is_killed_while_a_database_is_being_paused_costs_nobody_anything() {
    at_every_step(2, |setting, me| {
        let limits = UpstreamLimits { database: 1, ..Default::default() };
        setting.segment.limit_upstream_pool(setting.pool, &limits);
        let place = setting.lease(me);
        let connection = setting.open(place);
        setting.segment.order_upstream(Some(1), UpstreamOrder::Paused);
        setting.close(me, place, connection);
        setting.segment.revoke_upstream(Some(1), UpstreamOrder::Paused);
    });
}
