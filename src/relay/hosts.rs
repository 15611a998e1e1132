//! Which of a database's upstream servers a new connection leads to, and whether a connection leads to a server of the
//! role that is wanted. What one worker finds out the others know by the segment (`shm::hosts`).

use std::time::{Duration, Instant};

use shm::clock::monotonic_us;
use shm::{Segment, UpstreamHostIndex, UpstreamPlaceIndex, UpstreamRole};

use super::lend::{Lender, Pool, cancelled};
use super::login;
use super::upstream::{Memory, Upstream};
use crate::config::{Address, LoadBalanceHosts, RelayDatabase, TargetSessionAttrs};
use crate::error::{Condition, Error};

/// A host that failed is tried again after this time at the latest when no other one will do; `server_login_retry` may be
/// less.
const LAST_CHANCE_US: u64 = 1_000_000;
/// A host whose role did not fit is not asked again for this long.
const ROLE_KNOWN_US: u64 = 200_000;
/// How often who waits looks whether the wait is to end: there is nothing to wait on.
const LOOK: Duration = Duration::from_millis(20);

/// Where the connections of a pool may lead.
#[derive(Debug, Clone)]
pub struct Target {
    /// The hosts, in the order of the settings.
    pub addresses: Vec<Address>,
    /// Which servers fit.
    pub attrs: TargetSessionAttrs,
    /// Which host is tried first.
    pub balance: LoadBalanceHosts,
}

impl Target {
    /// One host, whatever its role.
    pub fn single(address: Address) -> Self {
        Self { addresses: vec![address], attrs: TargetSessionAttrs::Any, balance: LoadBalanceHosts::Disable }
    }

    /// That of a database in the settings.
    pub fn of(database: &RelayDatabase) -> Result<Self, Error> {
        Ok(Self {
            addresses: database.addresses().map_err(Error::internal)?,
            attrs: database.target_session_attrs,
            balance: database.load_balance_hosts,
        })
    }

    /// The list of hosts as a text: two lists that differ have different ones.
    pub fn identity(&self) -> String {
        self.addresses.iter().map(|address| format!("{}\n{}\n", address.host, address.port)).collect()
    }

    /// What is wanted at first, and what will do after that.
    fn wishes(&self) -> &'static [TargetSessionAttrs] {
        use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
        match self.attrs {
            Any => &[Any],
            ReadWrite => &[ReadWrite],
            ReadOnly => &[ReadOnly],
            Primary => &[Primary],
            Standby => &[Standby],
            PreferStandby => &[Standby, Any],
        }
    }
}

/// Why a server of that role does not fit, in libpq's words.
fn misfit(wanted: TargetSessionAttrs, role: UpstreamRole) -> Option<&'static str> {
    match wanted {
        TargetSessionAttrs::ReadWrite if role.is_read_only => Some("session is read-only"),
        TargetSessionAttrs::ReadOnly if !role.is_read_only => Some("session is not read-only"),
        TargetSessionAttrs::Primary if role.in_hot_standby => Some("server is in hot standby mode"),
        TargetSessionAttrs::Standby if !role.in_hot_standby => Some("server is not in hot standby mode"),
        _ => None,
    }
}

/// The same by what another connection to the server found. Whether transactions are read-only by default may be a setting
/// of that one's role or database.
fn known_misfit(wanted: TargetSessionAttrs, role: UpstreamRole) -> Option<&'static str> {
    match wanted {
        TargetSessionAttrs::ReadOnly => None,
        _ => misfit(wanted, UpstreamRole { is_read_only: role.in_hot_standby, ..role }),
    }
}

/// The role that the server last reported. Servers before PostgreSQL 14 do not report it.
fn role(memory: &Memory) -> Option<UpstreamRole> {
    let in_hot_standby = memory.parameters.get("in_hot_standby")? == "on";
    let is_read_only = in_hot_standby || memory.parameters.get("default_transaction_read_only")? == "on";
    Some(UpstreamRole { in_hot_standby, is_read_only })
}

/// Tells the other workers what a connection's server reported. Only hot standby mode: whether transactions are
/// read-only may be the session's own setting.
pub fn note(segment: Segment, memory: &Memory) {
    let (Some(now), Some(was)) = (memory.parameters.get("in_hot_standby"), memory.defaults.get("in_hot_standby"))
    else {
        return;
    };
    if now != was
        && let Some(role) = role(memory)
        && let Some(host) = segment.open_upstream_host(memory.address.key())
    {
        segment.set_upstream_role(host, role, monotonic_us());
    }
}

/// Whether an idle connection leads to a server that fits: by what it reported itself, and by what a later connection to
/// the same server found. Who prefers standbys takes any.
pub fn still_fits(segment: Segment, target: &Target, memory: &Memory) -> bool {
    if target.attrs == TargetSessionAttrs::Any {
        return true;
    }
    if role(memory).is_some_and(|role| misfit(target.attrs, role).is_some()) {
        return false;
    }
    let seen = segment.open_upstream_host(memory.address.key()).and_then(|host| segment.upstream_role(host));
    !seen.is_some_and(|(role, seen_us)| seen_us > memory.connected_us && known_misfit(target.attrs, role).is_some())
}

/// Connects to a host that fits, and logs in. While there is none it waits, and tries again, until `give_up`.
pub fn connect(
    lender: &Lender<'_>,
    pool: &Pool,
    place: UpstreamPlaceIndex,
    give_up: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Upstream, Error> {
    lender.segment.set_upstream_host(place, None);
    let mut search = Search { lender, pool, place, give_up, last: None };
    loop {
        if let Some(upstream) = search.round(interrupted)? {
            return Ok(upstream);
        }
        if interrupted() {
            return Err(cancelled());
        }
        if Instant::now() >= give_up {
            let unknown = || Error::new(Condition::ConnectionFailure, "query_wait_timeout");
            return Err(search.last.unwrap_or_else(unknown));
        }
        std::thread::sleep(LOOK);
    }
}

/// A search for a host.
struct Search<'a> {
    lender: &'a Lender<'a>,
    pool: &'a Pool,
    place: UpstreamPlaceIndex,
    give_up: Instant,
    /// Why the host that was tried last would not do.
    last: Option<Error>,
}

impl Search<'_> {
    /// Tries the hosts once: those that are thought to be there first, then those that failed a while ago.
    fn round(&mut self, interrupted: &mut dyn FnMut() -> bool) -> Result<Option<Upstream>, Error> {
        let retry_us = u64::try_from(self.lender.config.server_login_retry.duration().as_micros()).unwrap_or(u64::MAX);
        let order = self.order();
        for pause_us in [retry_us, retry_us.min(LAST_CHANCE_US)] {
            for wanted in self.pool.target.wishes() {
                for address in &order {
                    let found = self.consider(address, *wanted, pause_us, interrupted)?;
                    if found.is_some() || interrupted() {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The hosts, the one to try first at the front.
    fn order(&self) -> Vec<Address> {
        let mut order = self.pool.target.addresses.clone();
        let segment = self.lender.segment;
        let turn = |number: u64| usize::try_from(number % order.len().max(1) as u64).unwrap_or(0);
        match self.pool.target.balance {
            _ if order.len() < 2 => {}
            LoadBalanceHosts::Disable => {}
            LoadBalanceHosts::RoundRobin => {
                let first = turn(segment.next_upstream_turn());
                order.rotate_left(first);
            }
            LoadBalanceHosts::Random => {
                // A multiplier that spreads consecutive numbers; processes differ by their ids.
                let number = monotonic_us() ^ u64::from(std::process::id()) << 32;
                let first = turn(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33);
                order.rotate_left(first);
            }
            LoadBalanceHosts::LeastBusy => {
                order.sort_by_cached_key(|address| segment.upstream_host_use(address.key()));
            }
        }
        order
    }

    /// Connects to one host, unless it failed less than `pause_us` ago or is known not to fit.
    fn consider(
        &mut self,
        address: &Address,
        wanted: TargetSessionAttrs,
        pause_us: u64,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Upstream>, Error> {
        let segment = self.lender.segment;
        let host = segment.open_upstream_host(address.key());
        let now_us = monotonic_us();
        if let Some(host) = host {
            let failed_us = segment.upstream_host_failed_us(host);
            let is_due = now_us.saturating_sub(failed_us) >= pause_us;
            if failed_us != 0 && !(is_due && segment.claim_upstream_host(host, failed_us, now_us)) {
                return Ok(None);
            }
            if let Some((role, seen_us)) = segment.upstream_role(host)
                && now_us.saturating_sub(seen_us) < ROLE_KNOWN_US
                && let Some(reason) = known_misfit(wanted, role)
            {
                self.last = Some(unfit(address, reason));
                return Ok(None);
            }
        }
        let deadline = self.give_up.min(Instant::now() + self.lender.config.server_connect_timeout.duration());
        match login::log_in(address, &self.pool.credentials, deadline, interrupted) {
            Ok(upstream) => Ok(self.judge(upstream, host, wanted)),
            // That is the client's doing, not the host's.
            Err(_) if interrupted() => Ok(None),
            Err(mut failure) if failure.may_pass => {
                // An attempt that was cut short says nothing of the host; why others would not do says more.
                let is_cut_short = Instant::now() >= self.give_up;
                if !is_cut_short {
                    host.inspect(|host| segment.fail_upstream_host(*host, monotonic_us()));
                    log::warn!("{}", failure.error);
                }
                if !is_cut_short || self.last.is_none() {
                    self.last = Some(Error::new(
                        Condition::ConnectionFailure,
                        std::mem::take(&mut failure.error.fields_mut().message),
                    ));
                }
                Ok(None)
            }
            Err(failure) => {
                if let Some(host) = host {
                    segment.reach_upstream_host(host);
                }
                Err(failure.error)
            }
        }
    }

    /// Keeps a new connection if its server fits.
    fn judge(
        &mut self,
        upstream: Upstream,
        host: Option<UpstreamHostIndex>,
        wanted: TargetSessionAttrs,
    ) -> Option<Upstream> {
        let segment = self.lender.segment;
        let role = role(&upstream.memory);
        if let Some(host) = host {
            segment.reach_upstream_host(host);
            if let Some(role) = role {
                segment.set_upstream_role(host, role, monotonic_us());
            }
        }
        let reason = match role {
            Some(role) => misfit(wanted, role),
            None if wanted == TargetSessionAttrs::Any => None,
            None => Some("it does not report in_hot_standby, as PostgreSQL 14 and later do"),
        };
        if let Some(reason) = reason {
            self.last = Some(unfit(&upstream.memory.address, reason));
            return None;
        }
        segment.set_upstream_host(self.place, host);
        Some(upstream)
    }
}

fn unfit(address: &Address, reason: &str) -> Error {
    let message = format!("could not connect to upstream server {}:{}: {reason}", address.host, address.port);
    Error::new(Condition::ConnectionFailure, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_fit_as_in_libpq() {
        use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
        for (standby, read_only, fits) in [
            ("off", "off", [true, true, false, true, false, true]),
            ("off", "on", [true, false, true, true, false, true]),
            ("on", "off", [true, false, true, false, true, true]),
        ] {
            let mut memory = Memory::default();
            memory.parameters.set("in_hot_standby", standby);
            memory.parameters.set("default_transaction_read_only", read_only);
            let role = role(&memory).unwrap();
            let found = [Any, ReadWrite, ReadOnly, Primary, Standby, PreferStandby];
            assert_eq!(found.map(|wanted| misfit(wanted, role).is_none()), fits, "{standby} {read_only}");
        }
        assert_eq!(role(&Memory::default()), None);
    }
}
