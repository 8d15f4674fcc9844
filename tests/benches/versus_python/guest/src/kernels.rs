//! Work for the processor alone, of three kinds. Compiled twice, from this one file: to wasm and natively.

/// One kernel: how many rounds in, a checksum out, so that nothing is optimised away.
pub(crate) type Kernel = fn(u64) -> u64;

/// The kernel of this name.
pub(crate) fn find(name: &str) -> Option<Kernel> {
    match name {
        "nbody" => Some(nbody),
        "sieve" => Some(sieve),
        "collatz" => Some(collatz),
        _ => None,
    }
}

/// Floating point: five bodies under gravity, as many steps as `rounds`.
fn nbody(rounds: u64) -> u64 {
    const BODIES: usize = 5;
    const STEP: f64 = 0.001;
    let mut position = [
        [0.0; 3],
        [4.84, -1.16, -0.10],
        [8.34, 4.12, -0.40],
        [12.89, -15.11, -0.22],
        [15.38, -25.92, 0.18],
    ];
    let mut velocity = [
        [0.0; 3],
        [0.61, 2.81, -0.02],
        [-1.01, 1.82, 0.008],
        [1.08, 0.87, -0.01],
        [0.98, 0.59, -0.03],
    ];
    let mass = [39.48, 0.038, 0.011, 0.0017, 0.002];
    for _ in 0..rounds {
        for one in 0..BODIES {
            for other in one + 1..BODIES {
                let distance: [f64; 3] = std::array::from_fn(|axis| position[one][axis] - position[other][axis]);
                let square: f64 = distance.iter().map(|d| d * d).sum();
                let magnitude = STEP / (square * square.sqrt());
                for axis in 0..3 {
                    velocity[one][axis] -= distance[axis] * mass[other] * magnitude;
                    velocity[other][axis] += distance[axis] * mass[one] * magnitude;
                }
            }
        }
        for (position, velocity) in position.iter_mut().zip(&velocity) {
            for axis in 0..3 {
                position[axis] += STEP * velocity[axis];
            }
        }
    }
    position
        .iter()
        .flatten()
        .fold(0, |sum, coordinate| sum ^ coordinate.to_bits())
}

/// Memory: the sieve of Eratosthenes over 256 KiB, `rounds` times.
fn sieve(rounds: u64) -> u64 {
    const LIMIT: usize = 256 * 1024;
    let mut composite = vec![false; LIMIT];
    let mut primes = 0;
    for _ in 0..rounds {
        composite.fill(false);
        for number in 2..LIMIT {
            if !composite[number] {
                primes += 1;
                let mut multiple = 2 * number;
                while multiple < LIMIT {
                    composite[multiple] = true;
                    multiple += number;
                }
            }
        }
    }
    primes
}

/// Whole numbers and branches: steps to 1 from each number below `rounds`.
fn collatz(rounds: u64) -> u64 {
    let steps_from = |mut number: u64| {
        let mut steps = 0;
        while number > 1 {
            number = if number.is_multiple_of(2) {
                number / 2
            } else {
                3 * number + 1
            };
            steps += 1;
        }
        steps
    };
    (1..rounds).map(steps_from).sum()
}
