//! Outcomes for people (a table) and for machines (JSON, CSV). Errors are in all of them.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Arrivals, Encryption, Load, Outcome, Phase, Plan, Search, Target};

/// The percentiles that are reported.
const PERCENTILES: &[(&str, f64)] = &[("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("p99.9", 99.9)];

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Tcp(address) => address.fmt(f),
            Target::Unix(path) => path.display().fmt(f),
        }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Load::Closed { clients } => write!(f, "closed loop of {clients} clients"),
            Load::Open { rate, arrivals: Arrivals::Constant } => write!(f, "open loop at {rate}/s, constant arrivals"),
            Load::Open { rate, arrivals: Arrivals::Poisson } => write!(f, "open loop at {rate}/s, Poisson arrivals"),
            Load::Open { rate, arrivals: Arrivals::Burst(size) } => {
                write!(f, "open loop at {rate}/s, bursts of {size}")
            }
        }
    }
}

/// The lines that a terminal is shown.
pub fn table(outcome: &Outcome) -> String {
    let (plan, tally) = (&outcome.plan, &outcome.tally);
    let mut text = settings_lines(plan);
    if outcome.interrupted {
        let _ = writeln!(text, "stopped after {:.1} s of the measured time", outcome.measured.as_secs_f64());
    }
    let _ = writeln!(
        text,
        "sessions: {} due, {} completed, {} failed, {} unfinished; at most {} open",
        tally.due, tally.completed, tally.failed, tally.unfinished, tally.most_open
    );
    let _ = writeln!(
        text,
        "became ready: {:.1}/s; queries answered: {:.1}/s",
        outcome.ready_per_second(),
        outcome.queries_per_second()
    );
    text += &latency_lines(outcome);
    text += &error_lines(outcome);
    text += &client_lines(outcome);
    text
}

/// What was tried, step by step, and what was found.
pub fn search_table(search: &Search) -> String {
    let mut text = format!(
        "{:>10} {:>10} {:>10} {:>10} {:>8} {:>8}\n",
        "rate/s", "ready/s", "p50 ms", "p99 ms", "errors", "verdict"
    );
    for step in &search.steps {
        let _ = writeln!(
            text,
            "{:>10.0} {:>10.1} {:>10} {:>10} {:>8} {:>8}",
            step.rate,
            step.outcome.ready_per_second(),
            milliseconds(step.outcome.percentile(Phase::Ready, 50.0)),
            milliseconds(step.outcome.percentile(Phase::Ready, 99.0)),
            step.outcome.tally.errors.total(),
            step.verdict.name()
        );
        for error in step.outcome.tally.errors.iter() {
            let _ = writeln!(
                text,
                "{:>10} {} x {} ({}): {}",
                "",
                error.count,
                error.code,
                error.phase.name(),
                error.message
            );
        }
    }
    let bound = milliseconds(Some(search.bound.p99));
    let _ = match search.best() {
        Some(step) => writeln!(text, "highest rate with p99 of time to ready within {bound} ms: {:.0}/s", step.rate),
        None => writeln!(text, "no rate was found with p99 of time to ready within {bound} ms"),
    };
    text
}

/// Where, as whom and how, so that the figures can be repeated.
fn settings_lines(plan: &Plan) -> String {
    let tls = match plan.encryption {
        Encryption::None => "",
        Encryption::Full => ", TLS",
        Encryption::Resumed => ", TLS, resumed",
    };
    let query = match plan.queries {
        0 => "no query".to_owned(),
        queries => format!("{queries} x {}", plan.query),
    };
    let think = if plan.think.is_zero() { String::new() } else { format!(", thinking {:?}", plan.think) };
    let unoptimised = if cfg!(debug_assertions) { ", built without optimisation" } else { "" };
    format!(
        "pgprefork {}{unoptimised} on {} cores, Linux {}\n{}, user {}, database {}{tls}; {}; {query}{think}\n\
         {:?} measured after {:?}; {} threads, at most {} sessions open, time-out {:?}\n",
        env!("CARGO_PKG_VERSION"),
        cores(),
        kernel(),
        plan.target,
        plan.user,
        plan.database,
        plan.load,
        plan.duration,
        plan.warm_up,
        plan.threads,
        plan.max_open,
        plan.timeout,
    )
}

fn latency_lines(outcome: &Outcome) -> String {
    let mut text = format!("{:<15} {:>9} {:>9}", "ms", "count", "mean");
    for (name, _) in PERCENTILES {
        let _ = write!(text, " {name:>9}");
    }
    let _ = writeln!(text, " {:>9}", "max");
    for phase in Phase::ALL {
        let histogram = outcome.tally.latencies(phase);
        if histogram.is_empty() {
            continue;
        }
        let _ = write!(text, "{:<15} {:>9} {:>9.3}", phase.name(), histogram.len(), histogram.mean() / 1e6);
        for (_, percentile) in PERCENTILES {
            let _ = write!(text, " {:>9}", milliseconds(outcome.percentile(phase, *percentile)));
        }
        let _ = writeln!(text, " {:>9.3}", histogram.max() as f64 / 1e6);
    }
    text
}

fn error_lines(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let mut text = format!("errors: {}\n", tally.errors.total());
    for (errors, when) in [(&tally.errors, ""), (&tally.warm_up_errors, " in the warm-up")] {
        for error in errors.iter() {
            let _ =
                writeln!(text, "  {} x {} ({}{when}): {}", error.count, error.code, error.phase.name(), error.message);
        }
    }
    text
}

fn client_lines(outcome: &Outcome) -> String {
    let mut text = format!(
        "load generator: {:.0} % of its threads' time on the CPU, the busiest {:.0} %\n",
        outcome.tally.client.share() * 100.0,
        outcome.busiest_share * 100.0
    );
    if outcome.tally.addresses_exhausted > 0 {
        let _ = writeln!(text, "ports of a source address ran out {} times", outcome.tally.addresses_exhausted);
    }
    if outcome.is_client_bound() {
        text +=
            "THE LOAD GENERATOR WAS THE BOTTLENECK: more than 90 % of a thread; give it more threads, or less load\n";
    }
    text
}

/// Everything, for machines. Latencies in microseconds; null where a phase never happened.
pub fn json(outcome: &Outcome) -> Value {
    let (plan, tally) = (&outcome.plan, &outcome.tally);
    let errors = |errors: &super::Errors| -> Vec<Value> {
        let one = |error: super::ErrorCount<'_>| json!({ "code": error.code, "phase": error.phase.name(), "count": error.count, "message": error.message });
        errors.iter().map(one).collect()
    };
    let phases: serde_json::Map<String, Value> =
        Phase::ALL.iter().map(|phase| (phase.name().replace(' ', "_"), phase_json(outcome, *phase))).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "debug_build": cfg!(debug_assertions),
        "machine": { "cores": cores(), "kernel": kernel() },
        "settings": settings_json(plan),
        "interrupted": outcome.interrupted,
        "measured_seconds": outcome.measured.as_secs_f64(),
        "sessions": {
            "due": tally.due,
            "completed": tally.completed,
            "failed": tally.failed,
            "unfinished": tally.unfinished,
            "became_ready": tally.became_ready,
            "most_open": tally.most_open,
        },
        "queries": tally.queries,
        "ready_per_second": outcome.ready_per_second(),
        "queries_per_second": outcome.queries_per_second(),
        "resumed_handshakes": tally.resumed,
        "errors_total": tally.errors.total(),
        "errors": errors(&tally.errors),
        "warm_up_errors": errors(&tally.warm_up_errors),
        "latency_us": phases,
        "client": {
            "cpu_seconds": tally.client.cpu.as_secs_f64(),
            "cpu_share": tally.client.share(),
            "busiest_thread_share": outcome.busiest_share,
            "is_bottleneck": outcome.is_client_bound(),
            "addresses_exhausted": tally.addresses_exhausted,
        },
    })
}

/// A search with all of its steps.
pub fn search_json(search: &Search) -> Value {
    let steps: Vec<Value> = search
        .steps
        .iter()
        .map(|step| json!({ "rate": step.rate, "verdict": step.verdict.name(), "outcome": json(&step.outcome) }))
        .collect();
    json!({
        "p99_bound_us": search.bound.p99.as_micros() as u64,
        "highest_rate": search.best().map(|step| step.rate),
        "steps": steps,
    })
}

fn settings_json(plan: &Plan) -> Value {
    let load = match plan.load {
        Load::Closed { clients } => json!({ "loop": "closed", "clients": clients }),
        Load::Open { rate, arrivals } => {
            let (name, burst) = match arrivals {
                Arrivals::Constant => ("constant", None),
                Arrivals::Poisson => ("poisson", None),
                Arrivals::Burst(size) => ("burst", Some(size)),
            };
            json!({ "loop": "open", "rate": rate, "arrivals": name, "burst": burst, "seed": plan.seed })
        }
    };
    json!({
        "target": plan.target.to_string(),
        "user": plan.user,
        "database": plan.database,
        "tls": plan.encryption != Encryption::None,
        "tls_resume": plan.encryption == Encryption::Resumed,
        "load": load,
        "queries": plan.queries,
        "query": plan.query,
        "think_seconds": plan.think.as_secs_f64(),
        "warm_up_seconds": plan.warm_up.as_secs_f64(),
        "seconds": plan.duration.as_secs_f64(),
        "timeout_seconds": plan.timeout.as_secs_f64(),
        "threads": plan.threads,
        "max_open": plan.max_open,
        "source_addresses": plan.source_addresses,
    })
}

fn phase_json(outcome: &Outcome, phase: Phase) -> Value {
    let histogram = outcome.tally.latencies(phase);
    if histogram.is_empty() {
        return Value::Null;
    }
    let us = |ns: f64| (ns / 100.0).round() / 10.0;
    let mut values = serde_json::Map::new();
    values.insert("count".to_owned(), json!(histogram.len()));
    values.insert("mean".to_owned(), json!(us(histogram.mean())));
    values.insert("min".to_owned(), json!(us(histogram.min() as f64)));
    for (name, percentile) in PERCENTILES {
        values.insert((*name).to_owned(), json!(us(histogram.value_at_quantile(percentile / 100.0) as f64)));
    }
    values.insert("max".to_owned(), json!(us(histogram.max() as f64)));
    Value::Object(values)
}

/// One figure a line, `step,record,name,measure,value`, with a header: what JSON holds, for tools that want columns.
/// The step is the number of the outcome; a single run has one.
pub fn csv(outcomes: &[&Outcome]) -> String {
    let mut text = "step,record,name,measure,value\n".to_owned();
    for (number, outcome) in outcomes.iter().enumerate() {
        let mut line = |record: &str, name: &str, measure: &str, value: &Value| {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            let fields = [record, name, measure, value.as_str()].map(quoted).join(",");
            let _ = writeln!(text, "{},{fields}", number + 1);
        };
        let all = json(outcome);
        for record in ["machine", "settings", "sessions", "client"] {
            for (measure, value) in all[record].as_object().into_iter().flatten() {
                line(record, "", measure, value);
            }
        }
        for measure in
            ["interrupted", "measured_seconds", "queries", "ready_per_second", "queries_per_second", "errors_total"]
        {
            line("run", "", measure, &all[measure]);
        }
        for (phase, values) in all["latency_us"].as_object().into_iter().flatten() {
            for (measure, value) in values.as_object().into_iter().flatten() {
                line("latency_us", phase, measure, value);
            }
        }
        for record in ["errors", "warm_up_errors"] {
            for error in all[record].as_array().into_iter().flatten() {
                let name =
                    format!("{} {}", error["phase"].as_str().unwrap_or(""), error["code"].as_str().unwrap_or(""));
                line(record, &name, "count", &error["count"]);
            }
        }
    }
    text
}

/// A field of RFC 4180.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

fn milliseconds(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |duration| format!("{:.3}", duration.as_secs_f64() * 1e3))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{ClientTime, Failure, Tally};
    use super::*;

    fn outcome() -> Outcome {
        let mut tally = Tally { due: 5, completed: 2, failed: 3, became_ready: 2, ..Tally::default() };
        tally.record(Phase::Ready, 1_000_000);
        tally.record(Phase::Ready, 3_000_000);
        for _ in 0..2 {
            tally.errors.count(Phase::Authentication, Failure::server("53300", "too many, \"really\""));
        }
        tally.errors.count(Phase::Connect, Failure::system(nix::errno::Errno::ECONNREFUSED));
        tally.warm_up_errors.count(Phase::Connect, Failure::system(nix::errno::Errno::EADDRNOTAVAIL));
        tally.client = ClientTime { cpu: Duration::from_millis(950), wall: Duration::from_secs(1) };
        let plan = Plan::new(Target::Tcp("127.0.0.1:5432".parse().expect("an address")));
        Outcome { measured: plan.duration, plan, tally, busiest_share: 0.95, interrupted: false }
    }

    #[test]
    fn errors_and_a_busy_client_are_in_every_form() {
        let text = table(&outcome());
        for words in
            ["errors: 3", "2 x 53300", "ECONNREFUSED", "EADDRNOTAVAIL", "in the warm-up", "BOTTLENECK", "3 failed"]
        {
            assert!(text.contains(words), "{words} is missing in\n{text}");
        }
        let value = json(&outcome());
        assert_eq!(value["errors_total"], 3);
        assert_eq!(value["errors"][1]["code"], "53300");
        assert_eq!(value["warm_up_errors"][0]["code"], "EADDRNOTAVAIL");
        assert_eq!(value["client"]["is_bottleneck"], true);
        let text = csv(&[&outcome()]);
        for line in
            ["1,errors,authentication 53300,count,2", "1,errors,connect ECONNREFUSED,count,1", "1,run,,errors_total,3"]
        {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn latencies_are_in_microseconds() {
        let value = json(&outcome());
        let close = |value: &Value, us: f64| (value.as_f64().expect("a number") - us).abs() < us * 0.002;
        let ready = &value["latency_us"]["ready"];
        assert!(close(&ready["p50"], 1000.0) && close(&ready["max"], 3000.0), "{ready}");
        assert_eq!(value["latency_us"]["tls"], Value::Null);
    }

    #[test]
    fn csv_fields_are_quoted() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        let text = csv(&[&outcome(), &outcome()]);
        assert!(text.lines().skip(1).any(|line| line.starts_with("2,")));
        // The load is an object, full of commas.
        assert!(text.contains("1,settings,,load,\"{\"\"clients\"\":1"), "{text}");
    }
}
