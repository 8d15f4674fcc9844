//! Durations and sizes as people write them: `500ms`, `1.5m`, `64M`, `1GiB`.

use std::time::Duration;

/// Reads a duration: a number and one of `ms`, `s`, `m`, `h`.
///
/// # Errors
///
/// What it should be instead, in words.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(wasmp::units::duration("1.5m"), Ok(Duration::from_secs(90)));
/// assert!(wasmp::units::duration("5").is_err());
/// ```
pub fn duration(text: &str) -> Result<Duration, String> {
    const HELP: &str = "a duration is a number with a unit, such as 500ms, 2s, 1.5m or 1h";
    let (number, unit) = split(text).ok_or(HELP)?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err(format!("{HELP}; did you mean {number}s or {number}ms?")),
        _ => return Err(format!("there is no unit `{unit}`; {HELP}")),
    };
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if duration.is_zero() => Err("it must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("that is longer than any clock runs".to_owned()),
    }
}

/// Reads a size in bytes: a number, and a unit unless it counts bytes. `K`, `M`, `G`, `T` (also `KiB`, …) are powers of
/// 1024, `KB`, `MB`, … powers of 1000, as for GNU's tools; upper and lower case are the same.
///
/// # Errors
///
/// What it should be instead, in words.
///
/// ```
/// assert_eq!(wasmp::units::size("64M"), Ok(64 << 20));
/// ```
pub fn size(text: &str) -> Result<u64, String> {
    const HELP: &str = "a size is a number of bytes, or a number with a unit, such as 64M, 1.5G or 512KiB";
    let (number, unit) = split(text).ok_or(HELP)?;
    let unit_in_lower_case = unit.to_ascii_lowercase();
    let (prefix, base) = match unit_in_lower_case.as_str() {
        "" | "b" => ("", 1.0),
        other => match (other.strip_suffix("ib"), other.strip_suffix('b')) {
            (Some(prefix), _) => (prefix, 1024.0),
            (None, Some(prefix)) => (prefix, 1000.0),
            (None, None) => (other, 1024.0),
        },
    };
    let power = match prefix {
        "" if base == 1.0 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(format!("there is no unit `{unit}`; {HELP}")),
    };
    let bytes = (number * f64::powi(base, power)).round();
    if bytes < 1.0 {
        return Err("it must be at least one byte".to_owned());
    }
    if bytes >= u64::MAX as f64 {
        return Err("that is more than any machine has".to_owned());
    }
    Ok(bytes as u64)
}

/// A plain decimal number and what follows it.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0.25 s"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn a_bare_number_is_no_duration_and_the_error_offers_units() {
        assert_eq!(
            duration("5"),
            Err("a duration is a number with a unit, such as 500ms, 2s, 1.5m or 1h; did you mean 5s or 5ms?".into())
        );
    }

    #[test]
    fn bad_durations_say_why() {
        assert!(duration("2 fortnights").is_err_and(|e| e.starts_with("there is no unit `fortnights`")));
        for text in ["", "s", "-1s", "1.2.3s", "inf", "NaN"] {
            assert!(duration(text).is_err_and(|e| e.starts_with("a duration is")), "{text}");
        }
        assert_eq!(duration("0s"), Err("it must be longer than nothing".into()));
        assert_eq!(
            duration("99999999999999999999h"),
            Err("that is longer than any clock runs".into())
        );
    }

    #[test]
    fn sizes_count_in_powers_of_1024_unless_the_unit_ends_in_b_alone() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("4096B"), Ok(4096));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("64m"), Ok(64 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("2T"), Ok(2 << 40));
        assert_eq!(size("2MB"), Ok(2_000_000));
    }

    #[test]
    fn bad_sizes_say_why() {
        assert!(size("64Q").is_err_and(|e| e.starts_with("there is no unit `Q`")));
        assert!(size("1iB").is_err_and(|e| e.starts_with("there is no unit `iB`")));
        for text in ["", "M", "-5M", "1..2M"] {
            assert!(size(text).is_err_and(|e| e.starts_with("a size is")), "{text}");
        }
        assert_eq!(size("0"), Err("it must be at least one byte".into()));
        assert_eq!(size("99999999999T"), Err("that is more than any machine has".into()));
    }
}
