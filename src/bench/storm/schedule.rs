//! When sessions are due in an open loop: the same instants for the same plan, whatever the server does.
//!
//! Pure: nanoseconds since the start of a run, no clock. Whoever starts a session late says so; nothing here waits
//! for a session that hangs.

/// How arrivals are spread over time at a given mean rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    Constant,
    /// With exponentially distributed gaps, as from many clients that know nothing of each other.
    Poisson,
    /// This many at the same instant, then nothing until the mean rate is kept.
    Burst(u32),
}

/// The arrivals of one thread out of several. Together the threads offer the whole rate.
#[derive(Debug, Clone)]
pub struct Schedule {
    arrivals: Arrivals,
    /// Mean gap between two arrivals of all threads together.
    gap_ns: f64,
    /// This thread's number, and how many there are.
    thread: u64,
    threads: u64,
    /// How many arrivals this thread has given out.
    given: u64,
    /// Sum of the Poisson gaps so far.
    elapsed_ns: f64,
    random: SplitMix,
}

impl Schedule {
    /// The part of thread number `thread` of `threads`; `rate` is that of all together, in sessions a second.
    pub fn new(arrivals: Arrivals, rate: f64, thread: usize, threads: usize, seed: u64) -> Self {
        let (thread, threads) = (thread as u64, threads.max(1) as u64);
        let random = SplitMix(seed ^ thread.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut schedule = Self { arrivals, gap_ns: 1e9 / rate, thread, threads, given: 0, elapsed_ns: 0.0, random };
        schedule.draw();
        schedule
    }

    /// When the next session is due, in nanoseconds since the start.
    pub fn due_ns(&self) -> u64 {
        let number = self.given * self.threads + self.thread;
        match self.arrivals {
            Arrivals::Constant => (number as f64 * self.gap_ns) as u64,
            Arrivals::Poisson => self.elapsed_ns as u64,
            Arrivals::Burst(size) => {
                let size = u64::from(size.max(1));
                ((number / size * size) as f64 * self.gap_ns) as u64
            }
        }
    }

    /// Goes on to the arrival after this one.
    pub fn advance(&mut self) {
        self.given += 1;
        self.draw();
    }

    /// Threads draw from streams of their own: the sum of Poisson processes is one of their summed rate.
    fn draw(&mut self) {
        if self.arrivals == Arrivals::Poisson {
            let uniform = self.random.next_unit();
            self.elapsed_ns -= (1.0 - uniform).ln() * self.gap_ns * self.threads as f64;
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for gaps, and repeatable from a printed seed.
#[derive(Debug, Clone)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0, less than 1.
    fn next_unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(mut schedule: Schedule, end_ns: u64) -> Vec<u64> {
        let mut due = Vec::new();
        while schedule.due_ns() < end_ns {
            due.push(schedule.due_ns());
            schedule.advance();
        }
        due
    }

    fn of_all_threads(arrivals: Arrivals, rate: f64, threads: usize, end_ns: u64) -> Vec<u64> {
        let mut due: Vec<u64> =
            (0..threads).flat_map(|thread| until(Schedule::new(arrivals, rate, thread, threads, 7), end_ns)).collect();
        due.sort_unstable();
        due
    }

    #[test]
    fn constant_arrivals_are_the_same_whatever_the_number_of_threads() {
        let one = of_all_threads(Arrivals::Constant, 1000.0, 1, 1_000_000_000);
        assert_eq!(one.len(), 1000);
        assert_eq!(one[..3], [0, 1_000_000, 2_000_000]);
        for threads in 2..5 {
            assert_eq!(of_all_threads(Arrivals::Constant, 1000.0, threads, 1_000_000_000), one);
        }
    }

    #[test]
    fn poisson_arrivals_keep_the_rate_and_have_exponential_gaps() {
        for threads in [1, 2, 3] {
            let due = of_all_threads(Arrivals::Poisson, 1000.0, threads, 100_000_000_000);
            // 100,000 expected, standard deviation 316.
            assert!((98_000..102_000).contains(&due.len()), "{}", due.len());
            // Gaps longer than the mean: e^-1 of all.
            let long = due.windows(2).filter(|pair| pair[1] - pair[0] > 1_000_000).count();
            let share = long as f64 / due.len() as f64;
            assert!((0.35..0.385).contains(&share), "{share}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_threads_differ() {
        let schedule = |thread, seed| until(Schedule::new(Arrivals::Poisson, 100.0, thread, 2, seed), 1_000_000_000);
        assert_eq!(schedule(0, 1), schedule(0, 1));
        assert_ne!(schedule(0, 1), schedule(0, 2));
        assert_ne!(schedule(0, 1), schedule(1, 1));
    }

    #[test]
    fn a_burst_is_due_at_one_instant() {
        for threads in [1, 3] {
            let due = of_all_threads(Arrivals::Burst(200), 100.0, threads, 6_000_000_000);
            assert_eq!(due.len(), 600);
            for (number, at) in due.iter().enumerate() {
                assert_eq!(*at, number as u64 / 200 * 2_000_000_000);
            }
        }
    }
}
