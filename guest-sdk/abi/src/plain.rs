//! Values in shared memory.

/// Values that are nothing but so many bytes, the same ones in every process: what a `Value` or an `Array` is made of.
///
/// These are the integers up to 64 bits, floats, `bool`, and arrays and tuples of them, one after the other without gaps,
/// little-endian. A structure of your own is one by way of a tuple:
///
/// ```
/// # use wasmp_abi::Plain;
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
///
/// impl Plain for Point {
///     const SIZE: usize = <(f64, f64)>::SIZE;
///
///     fn load(bytes: &[u8]) -> Self {
///         let (x, y) = Plain::load(bytes);
///         Self { x, y }
///     }
///
///     fn store(&self, bytes: &mut [u8]) {
///         (self.x, self.y).store(bytes);
///     }
/// }
///
/// let mut bytes = [0; Point::SIZE];
/// let point = Point { x: 1.0, y: 2.0 };
/// point.store(&mut bytes);
/// assert_eq!(Point::load(&bytes), point);
/// ```
pub trait Plain: Copy {
    /// How many bytes.
    const SIZE: usize;

    /// The value in `SIZE` bytes. They may be any: others write to shared memory.
    fn load(bytes: &[u8]) -> Self;

    /// Writes the value to `SIZE` bytes.
    fn store(&self, bytes: &mut [u8]);
}

/// Lends memory for one value, on the stack when it is small.
#[doc(hidden)]
pub fn with_bytes<T: Plain, R>(borrow: impl FnOnce(&mut [u8]) -> R) -> R {
    const SMALL: usize = 32;

    if T::SIZE <= SMALL {
        borrow(&mut [0; SMALL][..T::SIZE])
    } else {
        borrow(&mut alloc::vec![0; T::SIZE])
    }
}

macro_rules! numbers {
    ($($ty:ty)*) => {$(
        impl Plain for $ty {
            const SIZE: usize = size_of::<Self>();

            fn load(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("`SIZE` bytes"))
            }

            fn store(&self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

numbers!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

/// One byte; all but zero is true.
impl Plain for bool {
    const SIZE: usize = 1;

    fn load(bytes: &[u8]) -> Self {
        u8::load(bytes) != 0
    }

    fn store(&self, bytes: &mut [u8]) {
        u8::from(*self).store(bytes);
    }
}

impl<T: Plain, const N: usize> Plain for [T; N] {
    const SIZE: usize = N * T::SIZE;

    fn load(bytes: &[u8]) -> Self {
        core::array::from_fn(|index| T::load(&bytes[index * T::SIZE..][..T::SIZE]))
    }

    fn store(&self, bytes: &mut [u8]) {
        store_all(self, bytes);
    }
}

/// Writes values one after the other.
#[doc(hidden)]
pub fn store_all<T: Plain>(values: &[T], bytes: &mut [u8]) {
    for (index, value) in values.iter().enumerate() {
        value.store(&mut bytes[index * T::SIZE..][..T::SIZE]);
    }
}

macro_rules! tuples {
    ($(($($ty:ident),*))*) => {$(
        impl<$($ty: Plain),*> Plain for ($($ty,)*) {
            const SIZE: usize = 0 $(+ $ty::SIZE)*;

            fn load(mut bytes: &[u8]) -> Self {
                ($($ty::load(bytes.split_off(..$ty::SIZE).expect("`SIZE` bytes")),)*)
            }

            fn store(&self, mut bytes: &mut [u8]) {
                #[allow(non_snake_case, reason = "each value is named as its type")]
                let ($($ty,)*) = self;
                $($ty.store(bytes.split_off_mut(..$ty::SIZE).expect("`SIZE` bytes"));)*
            }
        }
    )*};
}

tuples!((A)(A, B)(A, B, C)(A, B, C, D)(A, B, C, D, E)(A, B, C, D, E, F));

/// The integers that have atomic operations in shared memory: `u8` to `u64` and `i8` to `i64`.
///
/// It cannot be implemented elsewhere.
pub trait Integer: Plain + Sealed {
    /// The bits, filled up with zeroes.
    #[doc(hidden)]
    fn to_bits(self) -> u64;

    /// The integer of the lowest bits.
    #[doc(hidden)]
    fn from_bits(bits: u64) -> Self;
}

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

macro_rules! integers {
    ($($ty:ty: $unsigned:ty;)*) => {$(
        impl Sealed for $ty {}

        impl Integer for $ty {
            fn to_bits(self) -> u64 {
                u64::from(self as $unsigned)
            }

            fn from_bits(bits: u64) -> Self {
                bits as Self
            }
        }
    )*};
}

integers! {
    u8: u8; i8: u8;
    u16: u16; i16: u16;
    u32: u32; i32: u32;
    u64: u64; i64: u64;
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn round_trip<T: Plain + PartialEq + core::fmt::Debug>(value: T) -> Vec<u8> {
        with_bytes::<T, _>(|bytes| {
            value.store(bytes);
            assert_eq!(T::load(bytes), value);
            bytes.to_vec()
        })
    }

    #[test]
    fn values_are_little_endian_without_gaps() {
        assert_eq!(round_trip(-2_i16), [0xfe, 0xff]);
        assert_eq!(round_trip((1_u8, 2_u32, true)), [1, 2, 0, 0, 0, 1]);
        assert_eq!(round_trip([[1_u16, 2], [3, 4]]), [1, 0, 2, 0, 3, 0, 4, 0]);
        assert_eq!(round_trip(1.0_f64), 1.0_f64.to_le_bytes());
        assert_eq!(round_trip([7_u8; 100]), [7; 100]);
    }

    #[test]
    fn any_byte_is_a_bool() {
        assert!(bool::load(&[2]));
        assert!(!bool::load(&[0]));
    }

    #[test]
    fn bits_are_those_of_the_width() {
        assert_eq!((-1_i8).to_bits(), 0xff);
        assert_eq!(i8::from_bits(0xff), -1);
        assert_eq!(i8::from_bits(u64::MAX), -1);
        assert_eq!(i64::from_bits(i64::MIN.to_bits()), i64::MIN);
    }
}
