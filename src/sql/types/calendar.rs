//! Arithmetic of the proleptic Gregorian calendar in the stored units: days and microseconds since 2000-01-01.

/// Microseconds of a second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds of a minute.
pub const MINUTE_US: i64 = 60 * SECOND_US;
/// Microseconds of an hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;
/// Microseconds of a day of 24 hours.
pub const DAY_US: i64 = 24 * HOUR_US;
/// Seconds from 1970-01-01 to 2000-01-01.
pub const UNIX_OFFSET_S: i64 = 946_684_800;
/// Days from 1970-01-01 to 2000-01-01.
pub const UNIX_OFFSET_DAYS: i64 = 10_957;
/// 4714-11-24 BC, the first day that date and timestamp hold.
pub const MIN_DAY: i64 = -2_451_545;
/// The first day after those of type date (5874898-01-01).
pub const END_DATE: i64 = 2_145_031_949;
/// The first microsecond after those of type timestamp (294277-01-01).
pub const END_TIMESTAMP: i64 = 9_223_371_331_200_000_000;
/// The first microsecond of type timestamp.
pub const MIN_TIMESTAMP: i64 = MIN_DAY * DAY_US;

/// Days since 2000-01-01 of a date; year 0 is 1 BC.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 - UNIX_OFFSET_DAYS
}

/// Year (0 is 1 BC), month and day of a day since 2000-01-01.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468 + UNIX_OFFSET_DAYS;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days in a month.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Day of the week, 0 for Sunday.
pub fn day_of_week(days: i64) -> i64 {
    (days + 6).rem_euclid(7)
}

/// ISO year and week of a day.
pub fn iso_week(days: i64) -> (i64, i64) {
    // The week belongs to the year that holds its Thursday.
    let thursday = days - (day_of_week(days) + 6) % 7 + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(days_from_civil(2000, 1, 1), 0);
        assert_eq!(days_from_civil(1970, 1, 1), -UNIX_OFFSET_DAYS);
        assert_eq!(days_from_civil(-4713, 11, 24), MIN_DAY);
        assert_eq!(days_from_civil(5874898, 1, 1), END_DATE);
        assert_eq!(days_from_civil(294277, 1, 1) * DAY_US, END_TIMESTAMP);
        assert_eq!(day_of_week(0), 6);
        assert_eq!(iso_week(days_from_civil(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(days_from_civil(2024, 12, 30)), (2025, 1));
    }

    #[test]
    fn civil_dates_round_trip() {
        for days in (-1_000_000..1_000_000).step_by(37) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert!((1..=days_in_month(year, month)).contains(&day));
        }
    }
}
