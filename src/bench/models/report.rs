//! Rounds made into a report: medians, their spread, ratios to one column; as a table, JSON and CSV.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

/// The results of one measurement: a row a peer, in the order of the peers.
pub struct Section {
    /// What was measured.
    pub title: String,
    /// What the figures count.
    pub unit: &'static str,
    /// Whether less is better.
    pub lower_is_better: bool,
    /// Figures of every round, by peer; empty where the peer does not take part.
    pub rounds: Vec<Vec<f64>>,
    /// What has to be said of a peer's figures, and how often: errors, a busy load generator.
    pub notes: Vec<BTreeMap<String, u64>>,
}

impl Section {
    /// Without figures yet, for so many peers.
    pub fn new(title: &str, unit: &'static str, lower_is_better: bool, peers: usize) -> Self {
        let (rounds, notes) = (vec![Vec::new(); peers], vec![BTreeMap::new(); peers]);
        Self { title: title.to_owned(), unit, lower_is_better, rounds, notes }
    }

    /// Adds notes to a peer's.
    pub fn note(&mut self, peer: usize, notes: impl IntoIterator<Item = (String, u64)>) {
        for (note, count) in notes {
            *self.notes[peer].entry(note).or_insert(0) += count;
        }
    }
}

/// The middle value; of an even number the mean of the two middle ones. NaN for none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Half the distance between the smallest and the largest value, as a share of the median.
pub fn spread(values: &[f64]) -> f64 {
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (largest - smallest) / 2.0 / median(values)
}

/// The median over rounds of the ratio that two peers had in the same round.
pub fn paired_ratio(numerator: &[f64], denominator: &[f64]) -> f64 {
    let ratios: Vec<f64> = numerator.iter().zip(denominator).map(|(n, d)| n / d).collect();
    median(&ratios)
}

/// The sections as one table, ratios against each peer named in `against` (indices).
pub fn table(peers: &[String], sections: &[Section], against: &[usize]) -> String {
    let width = peers.iter().map(String::len).max().unwrap_or(0).max(8);
    let mut text = String::new();
    for section in sections {
        if section.rounds.iter().all(Vec::is_empty) && section.notes.iter().all(BTreeMap::is_empty) {
            continue;
        }
        let better = if section.lower_is_better { ", less is better" } else { "" };
        let _ = writeln!(text, "\n{} ({}{better})", section.title, section.unit);
        let _ = write!(text, "  {:<width$}  {:>10}  {:>7}", "", "median", "spread");
        for base in against {
            let _ = write!(text, "  {:>18}", format!("/ {}", peers[*base]));
        }
        text.push('\n');
        for (index, rounds) in section.rounds.iter().enumerate() {
            if rounds.is_empty() && section.notes[index].is_empty() {
                continue;
            }
            let _ = write!(text, "  {:<width$}", peers[index]);
            if !rounds.is_empty() {
                let _ = write!(text, "  {:>10}  {:>6.1}%", figure(median(rounds)), spread(rounds) * 100.0);
                for base in against {
                    let _ = match section.rounds.get(*base).filter(|rounds| !rounds.is_empty()) {
                        Some(other) => write!(text, "  {:>18.2}", paired_ratio(rounds, other)),
                        None => write!(text, "  {:>18}", "-"),
                    };
                }
            }
            text.push('\n');
            for (note, count) in &section.notes[index] {
                let _ = writeln!(text, "  {:<width$}    {count} x {note}", "");
            }
        }
    }
    text
}

/// Large figures without decimals, small ones with as many as say something.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size.is_nan() => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The sections for machines; `setting` says where and how they were measured.
pub fn json(setting: &Value, peers: &[String], sections: &[Section]) -> Value {
    let of_section = |section: &Section| {
        let rows: Vec<Value> = peers
            .iter()
            .enumerate()
            .filter(|(index, _)| !section.rounds[*index].is_empty() || !section.notes[*index].is_empty())
            .map(|(index, name)| {
                let rounds = &section.rounds[index];
                json!({
                    "peer": name,
                    "rounds": rounds,
                    "median": median(rounds),
                    "spread": spread(rounds),
                    "notes": section.notes[index],
                })
            })
            .collect();
        json!({
            "title": section.title,
            "unit": section.unit,
            "lower_is_better": section.lower_is_better,
            "peers": rows,
        })
    };
    json!({ "setting": setting, "sections": sections.iter().map(of_section).collect::<Vec<_>>() })
}

/// One figure a line: `title,unit,peer,round,value,note`. A note's line has its count as value and no round.
pub fn csv(peers: &[String], sections: &[Section]) -> String {
    let mut text = "title,unit,peer,round,value,note\n".to_owned();
    for section in sections {
        let (title, unit) = (quoted(&section.title), quoted(section.unit));
        for (index, peer) in peers.iter().enumerate() {
            let peer = quoted(peer);
            for (round, value) in section.rounds[index].iter().enumerate() {
                let _ = writeln!(text, "{title},{unit},{peer},{},{value},", round + 1);
            }
            for (note, count) in &section.notes[index] {
                let _ = writeln!(text, "{title},{unit},{peer},,{count},{}", quoted(note));
            }
        }
    }
    text
}

/// A field of RFC 4180, always in quotes.
fn quoted(field: &str) -> String {
    format!("\"{}\"", field.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was twice as slow in the second round: the ratio must not notice.
        assert_eq!(paired_ratio(&[200.0, 100.0, 200.0], &[100.0, 50.0, 100.0]), 2.0);
    }

    #[test]
    fn errors_stand_beside_the_figures_in_every_form() {
        let peers = ["one".to_owned(), "two, with a comma".to_owned()];
        let mut section = Section::new("storm", "ms", true, 2);
        section.rounds[0] = vec![1.0, 2.0, 3.0];
        // Nothing but errors.
        section.notes[1].insert("TIMEOUT (connect)".to_owned(), 7);
        let sections = [section];
        let text = table(&peers, &sections, &[0]);
        assert!(text.contains("7 x TIMEOUT (connect)") && text.contains("less is better"), "{text}");
        let value = json(&json!({}), &peers, &sections);
        assert_eq!(value["sections"][0]["peers"][1]["notes"]["TIMEOUT (connect)"], 7);
        assert_eq!(value["sections"][0]["peers"][0]["median"], 2.0);
        let text = csv(&peers, &sections);
        assert!(text.contains("\"storm\",\"ms\",\"two, with a comma\",,7,\"TIMEOUT (connect)\""), "{text}");
        assert!(text.contains("\"storm\",\"ms\",\"one\",3,3,\n"), "{text}");
    }
}
