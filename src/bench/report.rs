//! Rounds made into a table: medians, their spread, and ratios to one column.

/// The results of one workload: a row a peer, in the order of the peers.
pub struct Section {
    /// The workload's name.
    pub title: String,
    /// What the figures count.
    pub unit: &'static str,
    /// Figures of every round, by peer; empty where the peer does not take part.
    pub rounds: Vec<Vec<f64>>,
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

/// Prints the sections as one table, ratios against each peer named in `against` (indices).
pub fn print(peers: &[String], sections: &[Section], against: &[usize]) {
    let width = peers.iter().map(String::len).max().unwrap_or(0).max(8);
    for section in sections {
        println!("\n{} ({})", section.title, section.unit);
        print!("  {:<width$}  {:>10}  {:>7}", "", "median", "spread");
        for base in against {
            print!("  {:>18}", format!("/ {}", peers[*base]));
        }
        println!();
        for (index, rounds) in section.rounds.iter().enumerate().filter(|(_, rounds)| !rounds.is_empty()) {
            print!("  {:<width$}  {:>10.0}  {:>6.1}%", peers[index], median(rounds), spread(rounds) * 100.0);
            for base in against {
                match section.rounds.get(*base).filter(|rounds| !rounds.is_empty()) {
                    Some(other) => print!("  {:>18.2}", paired_ratio(rounds, other)),
                    None => print!("  {:>18}", "-"),
                }
            }
            println!();
        }
    }
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
}
